"""`nasfeat extract --on`, on a real cluster."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest

from programs import FAKE, server
from ray_cluster import RayCluster, ray_cluster, s3_store

pytestmark = pytest.mark.slow

_COUNT, _PART = 90, 6
_COMMAND = (sys.executable, "-c", "from nasfeat_client.cli import run; run()")


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    """Run a cluster for all tests of this module."""
    with ray_cluster() as made:
        yield made


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Write pictures of which no two are alike, in two folders, and a file that is none."""
    folder = tmp_path / "store/photos"
    for number in range(_COUNT):
        place = folder / str(number % 2)
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.full((32, 32, 3), number, np.uint8)
        PIL.Image.fromarray(pixels).save(place / f"{number:03}.png")
    (folder / "bad.jpg").write_bytes(b"no picture")
    return folder


def _extract(cluster: RayCluster, *arguments: str, on: str) -> dict[str, Any]:
    """Run the command to its end; gives its document."""
    done = subprocess.run(
        [*_COMMAND, "extract", *arguments, "--on", on, "--json"],
        env=cluster.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    # Pictures that are none are counted in it; without it something else went wrong.
    assert done.stdout, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["stopped_by"] is None, document["stopped_by"]
    return document


def _vectors(table: Path) -> Mapping[str, float]:
    """Give a value of each picture's vector, which tells it from the others, by its number; none may be there twice."""
    rows = pq.read_table(table)
    names = [Path(name).stem for name in rows["name"].to_pylist()]
    assert len(names) == len(set(names))
    return {name: float(vector[0]) for name, vector in zip(names, rows["features"].to_numpy(), strict=True)}


_EXPECTED = {f"{number:03}": float(np.float32(number) / np.float32(255)) for number in range(_COUNT)}


def _records(table: Path) -> int:
    return len(list((table / "_nasfeat").glob("part-*.json")))


async def test_neither_a_killed_command_nor_a_killed_actor_costs_a_picture(
    cluster: RayCluster, pictures: Path, tmp_path: Path
) -> None:
    """The next run goes on from the parts that count, and Ray from an actor that dies."""
    table = tmp_path / "table"
    async with server(*FAKE, "--weights", "sleep:0+0.05", "--max-batch", "1") as serving:
        arguments = (str(pictures), "-o", str(table), "--part-size", str(_PART), "-t", serving.listening)
        command = [*_COMMAND, "extract", *arguments, "--on", "ray", "--json"]
        document = await asyncio.to_thread(_killed_twice, cluster, command, table)
    assert document["stopped_by"] is None
    assert document["done_before"] >= 2 * _PART
    assert document["done_before"] + document["images"] == _COUNT + 1
    assert document["identity"]["weights_source"] == "sleep:0+0.05"
    assert _vectors(table) == pytest.approx(_EXPECTED)
    errors = [json.loads(line)["name"] for line in (table / "_errors.jsonl").read_text().splitlines()]
    assert errors == [str(pictures / "bad.jpg")]


def _killed_twice(cluster: RayCluster, command: list[str], table: Path) -> dict[str, Any]:
    """Kill the command in the middle, run it again, and kill its actor in the middle; gives the second's document."""
    with subprocess.Popen(command, env=cluster.environment, stderr=subprocess.DEVNULL) as first:
        while _records(table) < 2:
            assert first.poll() is None
            time.sleep(0.05)
        first.kill()
    kept = _records(table)
    assert kept < _COUNT // _PART
    with subprocess.Popen(
        command, env=cluster.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as second:
        # Of the first run's actor, too, should it live on for a moment.
        while _records(table) < kept + 2:
            assert second.poll() is None
            time.sleep(0.05)
        actors = cluster.workers("ray::MapWorker")
        assert actors
        for actor in actors:
            actor.kill()
        out, _ = second.communicate()
    assert second.returncode == 1
    document: dict[str, Any] = json.loads(out)
    return document


def test_pictures_of_an_object_store_become_a_table_there(cluster: RayCluster, pictures: Path, tmp_path: Path) -> None:
    """Told from outside of the cluster, nodes that hold engines read from S3 and write to it."""
    (tmp_path / "store/tables").mkdir()
    with s3_store(tmp_path / "store") as options:
        arguments = (f"s3://photos{options}", "-o", f"s3://tables/features{options}", "--part-size", "40")
        engine = ("--engine", "fake", "--variant", "cifar", "--weights", "random:0")
        document = _extract(cluster, *arguments, *engine, on=cluster.client)
    assert (document["succeeded"], document["failed"]) == (_COUNT, 1)
    assert document["errors"][0]["name"] == "s3://photos/bad.jpg"
    assert _vectors(tmp_path / "store/tables/features") == pytest.approx(_EXPECTED)
