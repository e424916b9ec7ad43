"""The file of tenants and their tokens."""

import hmac
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasfeat_server.errors import ConfigurationError
from nasfeat_server.scheduling.quota import Rate
from nasfeat_server.security.tokens import Quota, check_name, digest, new_token, parse_tokens, written

_FIRST, _SECOND, _THIRD = (written(f"token {number}") for number in range(3))


def test_a_file_says_whose_each_token_is_and_what_they_may() -> None:
    """Several tokens for one tenant, and the defaults of another."""
    table = parse_tokens(
        f"""
        [tenants.cameras]  # of the gates
        tokens = ["{_FIRST}", "{_SECOND}"]
        frames_per_second = 120
        burst = 240
        max_streams = 8
        max_priority = "normal"
        [tenants.batch-jobs]
        tokens = ["{_THIRD.upper().replace("SHA256", "sha256")}"]
        frames_per_second = 2.5
        [tenants.nobody]
        """.encode()
    )
    assert table.quotas == {
        "cameras": Quota(rate=Rate(per_second=120, burst=240), max_streams=8, max_priority="normal"),
        "batch-jobs": Quota(rate=Rate(per_second=2.5, burst=2.5)),
        "nobody": Quota(),
    }
    owners = [table.owners.get(table.find(f"token {number}") or b"") for number in range(4)]
    assert owners == ["cameras", "cameras", "batch-jobs", None]


def test_a_new_token_cannot_be_guessed_and_its_hash_finds_it() -> None:
    """256 random bits, safe in a header, with a beginning that scanners for leaked secrets find."""
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(re.fullmatch(r"nasfeat_[A-Za-z0-9_-]{43}", token) for token in tokens)
    token = tokens.pop()
    table = parse_tokens(f'[tenants.a]\ntokens = ["{written(token)}"]'.encode())
    assert table.find(token) == digest(token)
    assert token not in written(token)


@given(st.text())
def test_no_text_but_a_token_is_found(text: str) -> None:
    """Whatever a stranger sends."""
    assert parse_tokens(f'[tenants.a]\ntokens = ["{_FIRST}"]'.encode()).find(text) is None


@pytest.mark.parametrize("asked", ["token 0", "token 2", "none of them"])
def test_every_hash_is_compared_in_constant_time(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finding the first costs as much as finding none, so that time tells nothing."""
    table = parse_tokens(f'[tenants.a]\ntokens = ["{_FIRST}", "{_SECOND}", "{_THIRD}"]'.encode())
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    table.find(asked)
    assert compared == list(table.owners)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("tenants = ", "it cannot be read as TOML"),
        ("a = " + "[" * 5000, "cannot be read as TOML: over 16 levels"),
        ("[tenants.a]\nburst" + ".x" * 20 + " = 1", "within each other to over 16 levels"),
        ("[tenants.a]\nmax_streams = " + "9" * 5000, "cannot be read as TOML"),
        ("[tenants.a]\nframes_per_second = 1" + "0" * 400, "a whole number of more than 64 bits"),
        ("[tenants.a]\nmax_streams = 0x" + "f" * 5000, "a whole number of more than 64 bits"),
        ("", r"there is no tenant: a table \[tenants.NAME\]"),
        ("tenants = 3", "there is no tenant"),
        ("[tenant.a]", r"tenant is no part of it; there is \[tenants.NAME\] alone"),
        ("[tenants]\na = 1", r"a: a tenant is a table, \[tenants.a\]"),
        ('[tenants."a b"]', "'a b' cannot name a tenant"),
        ("[tenants.a]\nframes = 1", "a: frames is no setting of a tenant"),
        ("[tenants.a]\nframes_per_second = 0", "a: frames_per_second must be a number over 0, not 0"),
        ("[tenants.a]\nframes_per_second = inf", "a number over 0, not inf"),
        ("[tenants.a]\nframes_per_second = true", "a number over 0, not True"),
        ("[tenants.a]\nframes_per_second = 1\nburst = 0.5", "burst must be 1 frame or more, not 0.5"),
        ("[tenants.a]\nburst = 2", "burst means nothing without frames_per_second"),
        ("[tenants.a]\nmax_streams = -1", "max_streams must be 0 or more, not -1"),
        ("[tenants.a]\nmax_streams = true", "max_streams must be 0 or more, not True"),
        ("[tenants.a]\nmax_priority = 'top'", "max_priority must be low, normal or high, not 'top'"),
        ("[tenants.a]\ntokens = 'x'", "tokens must be a list"),
        ("[tenants.a]\ntokens = ['sha256:12']", "the hash number 1 is not 'sha256:' and 64 hexadecimal digits"),
        (f"[tenants.a]\ntokens = ['{_FIRST}']\n[tenants.b]\ntokens = ['{_FIRST}']", "that of a token of a too"),
    ],
)
def test_what_is_wrong_is_named(text: str, complaint: str) -> None:
    """With the tenant, and what is allowed."""
    with pytest.raises(ConfigurationError, match=complaint):
        parse_tokens(text.encode())


def test_everything_that_is_wrong_is_named_at_once() -> None:
    """And a token that stands where its hash belongs is not repeated into a log."""
    text = "[tenants.a]\nburst = 0\ntokens = ['nasfeat_secret']\n[tenants.b]\nx = 1\n[c]"
    with pytest.raises(ConfigurationError) as caught:
        parse_tokens(text.encode())
    message = str(caught.value)
    assert [word in message for word in ("c is no part", "a: burst", "a: the hash number 1", "b: x is no")] == [
        True
    ] * 4
    assert "secret" not in message


@pytest.mark.parametrize("name", ["", "-a", "a b", "a" * 65, "ä", 'a"', "a\n"])
def test_a_name_fits_a_label_and_a_table(name: str) -> None:
    """Others are refused."""
    with pytest.raises(ConfigurationError, match="cannot name a tenant"):
        check_name(name)
