"""The file of tenants, and the `authorization` of a call: what follows the first line that is a tilde is the header."""

import contextlib
from collections.abc import Iterator

from tests.fuzz import toml_mutation
from tests.fuzz.target import Target, expect_message

from nasfeat_server.errors import ConfigurationError
from nasfeat_server.security.tokens import parse_tokens, written

_BORDER = b"\n~\n"


def _check(data: bytes) -> None:
    content, _, token = data.partition(_BORDER)
    try:
        table = parse_tokens(content)
    except ConfigurationError as error:
        expect_message(error)
        return
    assert table.quotas
    assert set(table.owners.values()) <= set(table.quotas)
    found = table.find(token.decode("latin-1"))
    assert found is None or written(token.decode("latin-1")).encode() in content.lower()
    for quota in table.quotas.values():
        assert quota.rate is None or (0 < quota.rate.per_second < float("inf") and quota.rate.burst >= 1)


def _seeds() -> Iterator[bytes]:
    hashes = [written(token) for token in ("one", "two")]
    file = f"""\
[tenants.cameras]
tokens = ["{hashes[0]}",  # in use
  "{hashes[1]}"]
frames_per_second = 120
burst = 240.5
max_streams = 8
max_priority = "normal"
[tenants]
batch = {{tokens = [], max_priority = "low", frames_per_second = 1e-3}}
""".encode()
    yield file + _BORDER + b"one"
    yield b'[tenants.x]\ntokens = ["' + hashes[0].encode() + b'"]'
    yield b"[[tenants]]\nmax_streams = 1979-05-27T07:32:00Z"


TARGET = Target(
    name="tokens",
    what="the file of tenants and tokens: security/tokens.py",
    open=lambda: contextlib.nullcontext(_check),
    seeds=_seeds,
    mutate=toml_mutation.mutate,
    largest=8192,
    words=(
        *(b"tenants", b"tokens", b"frames_per_second", b"burst", b"max_streams", b"max_priority"),
        *(
            b"[tenants.a]\n",
            b"sha256:",
            b"inf",
            b"nan",
            b"1e400",
            b"0x" + b"f" * 40,
            b"-1",
            b"true",
            b".a.a.a",
            b"[[[[",
        ),
    ),
)
