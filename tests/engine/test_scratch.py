"""Where processes find a place for temporary files."""

import os
import tempfile
from pathlib import Path

import pytest

from nasfeat_server.engine.scratch import temporary_place


def test_the_systems_own_place_is_left_alone(tmp_path: Path) -> None:
    """Where there is one."""
    assert temporary_place(tmp_path) == {}


def test_the_cache_is_the_place_where_there_is_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that cannot be written to; Python's own search then finds it."""

    def open_nothing(*_: object) -> int:
        raise OSError

    monkeypatch.setattr(tempfile, "tempdir", None)
    with monkeypatch.context() as nowhere:
        nowhere.setattr(os, "open", open_nothing)
        place = temporary_place(tmp_path)
    assert place == {"TMPDIR": str(tmp_path)}
    monkeypatch.setenv("TMPDIR", place["TMPDIR"])
    assert tempfile.gettempdir() == str(tmp_path)
