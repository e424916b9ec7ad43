"""The file of settings: what is read as right, `config --print` writes, and reads again as the same."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import tomlkit
from tests.fuzz import toml_mutation
from tests.fuzz.target import Check, Target, expect_message

from nasfeat_server.cli.configuration import _document, config
from nasfeat_server.cli.settings.option import Setting


@contextlib.contextmanager
def _open() -> Iterator[Check]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "settings.toml"

        def check(data: bytes) -> None:
            path.write_bytes(data)
            try:
                read = _read(path)
            except click.UsageError as error:
                expect_message(error)
                return
            path.write_text(tomlkit.dumps(_document(read)))
            assert _read(path).obj == read.obj

        yield check


def _read(path: Path) -> click.Context:
    return config.make_context("config", ["--config", str(path)])


_SETTINGS = [param for param in config.params if isinstance(param, Setting)]
_KEYS = sorted({text.encode() for one in _SETTINGS for text in (f"[{one.section}]\n", f"{one.key} = ")})


def _seeds() -> Iterator[bytes]:
    context = config.make_context("config", [])
    whole = tomlkit.dumps(_document(context)).encode()
    for part in whole.split(b"\n\n"):
        yield part + b"\n"
    yield b'[engine]\ndevices = ["cpu", "cpu"]\nmax-batch = 8\nwarm = 1.5\n[limits]\nmax-window = 0x20\n'
    yield b'[security]\nallow-root = true\ntokens = "missing.toml"\n[model]\ncrop = "center_crop:0.875"\n'


TARGET = Target(
    name="settings",
    what="the file of settings, and what `config --print` makes of it: cli/settings/",
    open=_open,
    seeds=_seeds,
    mutate=toml_mutation.mutate,
    largest=8192,
    words=(*_KEYS, b"inf", b"nan", b"1e400", b"0x" + b"f" * 40, b"-1", b"true", b"[[[[", b".a.a.a", b"127.0.0.1:1"),
)
