"""`nasfeat extract` on ten thousand pictures, killed again and again."""

import asyncio
import io
import json
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from PIL import Image

from programs import CLIENT, FAKE, server

_COUNT = 10_000
_MB = 2**20


def _colour(number: int) -> tuple[int, int, int]:
    return number // 100, number % 100, 200


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an archive of small pictures, no two of which are equal; each thousandth is damaged."""
    path = tmp_path_factory.mktemp("bulk") / "pictures.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(_COUNT):
            picture = io.BytesIO()
            Image.new("RGB", (8, 8), _colour(number)).save(picture, "PNG")
            content = picture.getvalue()
            archive.writestr(f"{number // 1000}/{number:05}.png", content[:40] if number % 1000 == 500 else content)
    return path


class _Run:
    """The command at work on the pictures."""

    def __init__(self, pictures: Path, output: Path, target: str) -> None:
        self._command = (str(CLIENT), "extract", str(pictures), "-o", str(output), "-t", target, "--json")
        self._parts = output.with_name(f"{output.name}.parts")
        self.process: asyncio.subprocess.Process

    async def start(self) -> None:
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(*self._command, stdout=pipe, stderr=pipe)

    def parts(self) -> int:
        return len(list(self._parts.glob("0*.json")))

    async def memory_at(self, parts: int) -> int:
        """Wait until there are so many parts, and read the resident memory."""
        while self.parts() < parts:
            assert self.process.returncode is None
            await asyncio.sleep(0.02)
        return psutil.Process(self.process.pid).memory_info().rss

    async def end(self) -> dict[str, object]:
        out, err = await self.process.communicate()
        assert self.process.returncode == 1, err.decode()
        summary: dict[str, object] = json.loads(out)
        return summary


@pytest.mark.slow
async def test_a_run_that_is_killed_three_times_writes_what_an_undisturbed_one_does(
    pictures: Path, tmp_path: Path
) -> None:
    """The same table to the last byte, the same errors, no picture twice; and memory does not grow on the way."""
    undisturbed, killed = tmp_path / "undisturbed.parquet", tmp_path / "killed.parquet"
    generator = random.Random()  # noqa: S311 - moments, not secrets
    async with server(*FAKE) as running:
        whole = _Run(pictures, undisturbed, running.listening)
        await whole.start()
        early = await whole.memory_at(3)
        late = await whole.memory_at(9)
        summary = await whole.end()
        for kill in range(3):
            run = _Run(pictures, killed, running.listening)
            await run.start()
            before = run.parts()
            await run.memory_at(before + 1)
            await asyncio.sleep(generator.uniform(0, 0.5))
            run.process.kill()
            await run.process.communicate()
            assert run.process.returncode == -9, f"it was over before kill {kill + 1}"
        last = _Run(pictures, killed, running.listening)
        await last.start()
        resumed = await last.end()
    assert late - early < 24 * _MB
    assert (summary["done_before"], summary["succeeded"], summary["failed"]) == (0, _COUNT - 10, 10)
    assert isinstance(resumed["done_before"], int)
    assert resumed["done_before"] > 3000
    assert resumed["images"] == _COUNT - resumed["done_before"]
    assert killed.read_bytes() == undisturbed.read_bytes()
    errors = [path.with_name(f"{path.name}.errors.jsonl").read_text() for path in (undisturbed, killed)]
    assert errors[0] == errors[1]
    assert len(errors[0].splitlines()) == 10
    assert last.parts() == 0
    _check(pq.read_table(killed))


def _check(table: Any) -> None:
    """Hold each row to its own picture: the fake features are its pixels, which are all of its colour."""
    numbers = [int(Path(name).stem) for name in table["name"].to_pylist()]
    assert numbers == [number for number in range(_COUNT) if number % 1000 != 500]
    for number, row in zip(numbers, np.stack(table["features"].to_numpy()), strict=True):
        assert set(np.rint(row * 255).astype(int)) == set(_colour(number))
