"""Caches that cannot be written to."""

import asyncio
import contextlib
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasfeat_client import AsyncFeatureClient
from serving import FAKE, running

_TINY = Path(__file__).parents[1] / "data" / "oracle" / "tiny_cifar"
_MOUNT, _UMOUNT = ([path] if (path := shutil.which(name)) else [] for name in ("mount", "umount"))
_REAL: dict[str, Any] = {
    "engine": "openvino",
    "weights": str(_TINY / "model.ckpt"),
    "variant": str(_TINY / "spec.json"),
    "max_batch_size": 1,
}


@contextlib.contextmanager
def _disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a disk of so many bytes in memory."""
    folder.mkdir()
    if os.geteuid() or not (_MOUNT and _UMOUNT):
        pytest.skip("mounting a small disk takes root")
    mounted = subprocess.run(
        [*_MOUNT, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr}")
    try:
        yield folder
    finally:
        subprocess.run([*_UMOUNT, folder], check=True)


async def _remount(disk: Path, mode: str) -> None:
    command = [*_MOUNT, "-o", f"remount,{mode}", str(disk)]
    await asyncio.to_thread(lambda: subprocess.run(command, check=True))


async def _serves(cache: Path) -> None:
    async with running(FAKE, **_REAL, cache=cache) as app, AsyncFeatureClient(str(app.listening)) as client:
        assert (await client.extract(np.zeros((32, 32, 3), np.uint8))).vector.any()


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.message
        for record in caplog.records
        if record.levelno == logging.WARNING and "this start goes on in" in record.message
    ]


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, which must be empty again in the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


async def test_a_full_disk_costs_no_start(tmp_path: Path, scratch: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Row 30: the cache's disk is full in the middle of the preparation: the server serves, warns, leaves nothing."""
    with _disk(tmp_path / "full", "300k") as cache:
        await _serves(cache)
        assert not list(cache.glob("prepared/*/manifest.json"))
    assert len(_warnings(caplog)) == 1
    assert "No space left on device" in _warnings(caplog)[0] or "not enough space" in _warnings(caplog)[0]
    assert not await asyncio.to_thread(lambda: list(scratch.iterdir()))


@pytest.mark.slow
async def test_a_read_only_cache_costs_no_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Row 30: what a read-only cache has is taken from it; what it has not is made elsewhere, with a warning."""
    with _disk(tmp_path / "disk", "100m") as cache:
        await _remount(cache, "ro")
        await _serves(cache)
        assert ["Read-only file system" in warning for warning in _warnings(caplog)] == [True]
        await _remount(cache, "rw")
        await _serves(cache)
        await _remount(cache, "ro")
        await _serves(cache)
    assert len(_warnings(caplog)) == 1


async def test_a_file_in_the_caches_place_costs_no_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Row 30: a cache that is no directory is warned of, and the server serves."""
    cache = tmp_path / "file"
    await asyncio.to_thread(cache.touch)
    await _serves(cache)
    assert len(_warnings(caplog)) == 1
