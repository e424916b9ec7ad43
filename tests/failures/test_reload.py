"""New weights while frames stream."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from nasfeat_client import AsyncFeatureClient, ClientConfig, ModelNotFoundError, Result, ResumeConfig, StreamOptions
from nasfeat_server.engine.fake import fingerprint
from nasfeat_server.errors import ReloadError
from nasfeat_server.rpc.control_client import Admin, connected
from programs import run_client
from serving import FAKE, metric, running

_LENGTH = 768
_V1: Mapping[str, Any] = {"weights": "random:1", "model_version": "v1"}
_QUICK = ClientConfig(resume=ResumeConfig(first_pause_s=0.01, longest_pause_s=0.2))
_FOLLOWING = ClientConfig(resume=ResumeConfig(first_pause_s=0.01, longest_pause_s=0.2, other_versions=True))


def _picture(number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    data = np.zeros((32, 32, 3), np.uint8)
    data[0, 0] = number >> 16, number >> 8 & 255, number & 255
    return data


@dataclass(slots=True)
class _Seen:
    """What came back on all streams."""

    answered: int = 0
    versions: Counter[str] = field(default_factory=Counter)


def _check(result: Result, seen: _Seen) -> None:
    """Hold a result to what the version that it names makes of its frame: version "v3" has the weights `random:3`."""
    version = result.identity.version
    expected = fingerprint(_picture(result.frame_id)[np.newaxis], _LENGTH)[0] + np.float32(int(version[1:]))
    np.testing.assert_array_equal(result.vector, expected)
    assert result.identity.weights_source == f"random:{version[1:]}"
    seen.answered += 1
    seen.versions[version] += 1


async def _pictures(count: int, fifths: Sequence[asyncio.Event]) -> AsyncIterator[np.ndarray[Any, np.dtype[np.uint8]]]:
    for number in range(count):
        await fifths[5 * number // count].wait()
        yield _picture(number)


async def _stream(client: AsyncFeatureClient, frames: int, fifths: Sequence[asyncio.Event], seen: _Seen) -> None:
    ids = []
    async for result in client.stream(_pictures(frames, fifths), StreamOptions(frames_per_message=4)):
        _check(result, seen)
        ids.append(result.frame_id)
    assert ids == list(range(frames))


async def _reload(admin: Admin, seed: int, *, move_streams: bool) -> None:
    await admin.load(f"random:{seed}", f"v{seed}", 0.25)
    await admin.promote(move_streams=move_streams, keep_previous=False)


async def _answered(seen: _Seen, count: int) -> None:
    while seen.answered < count:  # noqa: ASYNC110 - the streams have no event for this
        await asyncio.sleep(0.005)


async def _stream_through_reloads(tmp_path: Path, frames: int, streams: int, *, front_ends: int = 1) -> _Seen:
    """Reload three times; the last three fifths wait for a reload each, so that every version has frames."""
    seen, fifths = _Seen(), [asyncio.Event() for _ in range(5)]
    fifths[0].set()
    fifths[1].set()
    async with (
        running(FAKE, **_V1, control=tmp_path / "control", front_ends=front_ends) as app,
        AsyncFeatureClient(str(app.listening), config=_FOLLOWING) as client,
        connected(tmp_path / "control") as admin,
        asyncio.TaskGroup() as tasks,
    ):
        for _ in range(streams):
            tasks.create_task(_stream(client, frames, fifths, seen))
        for seed in (2, 3, 4):
            await _answered(seen, streams * frames * (seed - 1) // 5 + 1)
            await _reload(admin, seed, move_streams=True)
            fifths[seed].set()
    assert metric(app, "nasfeat_reloads_total", outcome="promoted") == 3
    assert metric(app, "nasfeat_reloads_total", outcome="failed") == 0
    return seen


@pytest.mark.parametrize("front_ends", [1, 2])
async def test_frames_stream_through_three_reloads(tmp_path: Path, front_ends: int) -> None:
    """Row 23: no frame fails, each is made wholly by the version that its result names, and every version had some."""
    seen = await _stream_through_reloads(tmp_path, 500, 4, front_ends=front_ends)
    assert seen.answered == 2000
    assert set(seen.versions) == {"v1", "v2", "v3", "v4"}


@pytest.mark.slow
async def test_twenty_thousand_frames_stream_through_three_reloads(tmp_path: Path) -> None:
    """Row 23: so do 20,000 frames on eight streams."""
    seen = await _stream_through_reloads(tmp_path, 2500, 8)
    assert seen.answered == 20_000
    assert set(seen.versions) == {"v1", "v2", "v3", "v4"}


@contextlib.asynccontextmanager
async def _two_versions(
    tmp_path: Path, share: float, *, front_ends: int = 1
) -> AsyncIterator[tuple[AsyncFeatureClient, Admin]]:
    async with (
        running(FAKE, **_V1, control=tmp_path / "control", front_ends=front_ends) as app,
        AsyncFeatureClient(str(app.listening), config=_QUICK) as client,
        connected(tmp_path / "control") as admin,
    ):
        await admin.load("random:2", "v2", share)
        yield client, admin


async def _versions(client: AsyncFeatureClient, calls: int) -> Counter[str]:
    return Counter([(await client.extract(_picture(call))).identity.version for call in range(calls)])


async def test_a_canary_gets_its_share(tmp_path: Path) -> None:
    """Of twenty calls five go to a canary with a share of a quarter, none once it has none, all once it has all."""
    async with _two_versions(tmp_path, 0.25) as (client, admin):
        assert await _versions(client, 20) == {"v1": 15, "v2": 5}
        await admin.set_share(0)
        assert await _versions(client, 4) == {"v1": 4}
        await admin.set_share(1)
        assert await _versions(client, 4) == {"v2": 4}


@pytest.mark.parametrize("front_ends", [1, 2])
async def test_a_stream_keeps_to_its_version(tmp_path: Path, front_ends: int) -> None:
    """A promotion leaves open streams alone by default: the old version serves them to their end, and is gone then."""
    async with _two_versions(tmp_path, 0, front_ends=front_ends) as (client, admin), client.open_stream() as stream:
        await stream.send(_picture(0))
        assert (await anext(stream)).identity.version == "v1"
        await admin.promote(move_streams=False, keep_previous=False)
        assert await _versions(client, 3) == {"v2": 3}
        status = await admin.status()
        assert [(model.label, model.identity.version, model.streams) for model in status.models] == [
            ("stable", "v2", 0),
            ("retiring", "v1", 1),
        ]
        await stream.send(_picture(1))
        assert (await anext(stream)).identity.version == "v1"
        await stream.aclose()
        while len((await admin.status()).models) > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.005)  # whether a version has left is only to be asked


async def test_what_was_kept_is_rolled_back_to(tmp_path: Path) -> None:
    """A previous version that was kept is stable again with one order, and the one that was given up leaves."""
    async with _two_versions(tmp_path, 0) as (client, admin):
        await admin.promote(move_streams=False, keep_previous=True)
        assert await _versions(client, 2) == {"v2": 2}
        await admin.roll_back(move_streams=False)
        assert await _versions(client, 2) == {"v1": 2}
        with pytest.raises(ReloadError, match="neither a canary"):
            await admin.roll_back(move_streams=False)


async def test_a_canary_is_given_up(tmp_path: Path) -> None:
    """Rolling back a canary gives every call to the stable version, and another canary may come."""
    async with _two_versions(tmp_path, 1) as (client, admin):
        assert await _versions(client, 2) == {"v2": 2}
        await admin.roll_back(move_streams=True)
        assert await _versions(client, 2) == {"v1": 2}
        await admin.load("random:3", "v3", 1)
        assert await _versions(client, 2) == {"v3": 2}


async def test_a_second_canary_is_refused(tmp_path: Path) -> None:
    """There is one canary at most."""
    async with _two_versions(tmp_path, 0) as (_, admin):
        with pytest.raises(ReloadError, match="'v2' is the canary"):
            await admin.load("random:3", "v3", 0)


async def test_a_stream_that_keeps_to_its_version_ends_when_that_is_taken_away(tmp_path: Path) -> None:
    """The SDK mixes no versions: a stream that is moved goes on with its own if that was kept, or ends and says why."""
    async with _two_versions(tmp_path, 0) as (client, admin), client.open_stream() as stream:
        await stream.send(_picture(0))
        assert (await anext(stream)).identity.version == "v1"
        await admin.promote(move_streams=True, keep_previous=True)
        await stream.send(_picture(1))
        assert (await anext(stream)).identity.version == "v1"
        await admin.load("random:3", "v3", 0)
        await admin.promote(move_streams=True, keep_previous=False)
        await stream.send(_picture(2))
        with pytest.raises(ModelNotFoundError, match=r"no model 'v1' here, only .* in version 'v3' as stable"):
            await anext(stream)


@pytest.mark.parametrize(
    ("weights", "version", "share", "message"),
    [
        ("random:3", "v1", 0.0, "a version 'v1' already"),
        ("random:3", "canary", 0.0, "cannot be called 'canary'"),
        ("random:3", "v3", 1.5, "a share is from 0 to 1, not 1.5"),
        ("nonsense", "v3", 0.0, "nonsense cannot be loaded"),
    ],
)
async def test_what_cannot_be_loaded_leaves_the_server_as_it_is(
    tmp_path: Path, weights: str, version: str, share: float, message: str
) -> None:
    """A wrong order is refused with the reason, and calls are answered as before."""
    async with (
        running(FAKE, **_V1, control=tmp_path / "control") as app,
        AsyncFeatureClient(str(app.listening), config=_QUICK) as client,
        connected(tmp_path / "control") as admin,
    ):
        with pytest.raises(ReloadError, match=message):
            await admin.load(weights, version, share)
        assert await _versions(client, 2) == {"v1": 2}
        assert metric(app, "nasfeat_reloads_total", outcome="failed") == 1


def _held(process: psutil.Process) -> tuple[int, int]:
    """Count the descriptors and the arenas of a process."""
    arenas = sum("nasfeat-arena" in part.path for part in process.memory_maps(grouped=False))
    return process.num_fds(), arenas


@pytest.mark.parametrize("front_ends", [1, 2])
async def test_versions_leave_nothing_behind(tmp_path: Path, front_ends: int) -> None:
    """Four reloads later the server has as many processes, descriptors and arenas as after the first."""
    process = psutil.Process()
    async with _two_versions(tmp_path, 0, front_ends=front_ends) as (client, admin):
        counts = []
        for seed in range(3, 8):
            await admin.promote(move_streams=False, keep_previous=False)
            while len((await admin.status()).models) > 1:  # noqa: ASYNC110 - whether a version has left is to be asked
                await asyncio.sleep(0.005)
            assert len(await _versions(client, 1)) == 1
            children = process.children()
            ours = [process, *(one for one in children if "nasfeat_server.cli.front_end" in one.cmdline())]
            assert len(ours) == (1 if front_ends == 1 else 1 + front_ends)
            counts.append((len(children), [_held(one) for one in ours]))
            await admin.load(f"random:{seed}", f"v{seed}", 0)
    assert counts[-1] == counts[0]


async def test_a_table_is_of_one_version(tmp_path: Path) -> None:
    """The command asks for one version from the first picture to the last, whatever share a canary has, or --model."""
    control, table = tmp_path / "control", tmp_path / "features.jsonl"
    pictures = await asyncio.to_thread(_written, tmp_path)
    async with (
        running(FAKE, **_V1, control=control) as app,
        connected(control) as admin,
    ):
        await admin.load("random:2", "v2", 0.5)
        for options, version in (((), "v1"), (("--model", "canary"), "v2"), (("--model", "v2"), "v2")):
            code, _, words = await run_client(
                "extract", pictures, "-t", str(app.listening), "-o", table, "--restart", *options
            )
            assert code == 0, words
            rows = [json.loads(line) for line in (await asyncio.to_thread(table.read_text)).splitlines()]
            assert {min(row["features"]) >= int(version[1:]) for row in rows} == {True}
            assert {max(row["features"]) < int(version[1:]) + 1.5 for row in rows} == {True}


def _written(folder: Path) -> Path:
    pictures = folder / "pictures"
    pictures.mkdir()
    for number in range(8):
        Image.fromarray(np.full((32, 32, 3), number, np.uint8)).save(pictures / f"{number}.png")
    return pictures
