"""`nasfeat-server admin` as an operator runs it, with a server that computes."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from nasfeat_client import AsyncFeatureClient
from programs import SERVER
from serving import FAKE, running

_PICTURE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


async def _admin(control: Path, *arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        SERVER,
        "admin",
        "--control",
        control,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def test_an_operator_looks_and_changes(tmp_path: Path) -> None:
    """Each order says what it did; one that cannot be carried out says why and fails."""
    control = tmp_path / "control"
    async with running(FAKE, weights="random:1", model_version="v1", control=control):
        load = ("load", "--weights", "random:2", "--version", "v2", "--share", "0.25")
        assert await _admin(control, "promote") == (1, "Error: there is no canary; load one first\n")
        code, words = await _admin(control, *load)
        assert code == 0
        assert words.endswith("version 'v2' is the canary, with 25% of the new calls\n")
        assert await _admin(control, "share", "0.5") == (0, "the canary has 50% of the new calls\n")
        status = json.loads((await _admin(control, "status", "--json"))[1])
        assert [(model["label"], model["share"]) for model in status["models"]] == [("stable", 0.5), ("canary", 0.5)]
        assert (await _admin(control, "promote", "--keep-previous"))[0] == 0
        assert "previous  v1" in (await _admin(control, "status"))[1]
        assert await _admin(control, "rollback") == (0, "rolled back\n")
        assert await _admin(control, "log-level", "warning") == (0, "the log has lines from warning upwards\n")
    code, words = await _admin(control, "status")
    assert code == 2
    assert "does not exist" in words


@pytest.mark.slow
async def test_real_networks_follow_each_other(tmp_path: Path) -> None:
    """Loaded beside each other, two networks give what each gives alone, and name themselves in the results."""
    control = tmp_path / "control"
    options = {"engine": "auto", "cache": tmp_path / "cache", "max_batch_size": 1}
    async with running(FAKE, **options, weights="random:8") as app, AsyncFeatureClient(str(app.listening)) as client:
        alone = await client.extract(_PICTURE)
    first = {**options, "weights": "random:7", "model_version": "seven", "control": control}
    async with running(FAKE, **first) as app, AsyncFeatureClient(str(app.listening)) as client:
        before = await client.extract(_PICTURE)
        assert (await _admin(control, "load", "--weights", "random:8", "--version", "eight"))[0] == 0
        assert (await _admin(control, "promote"))[0] == 0
        after = await client.extract(_PICTURE)
    assert (before.identity.version, after.identity.version) == ("seven", "eight")
    assert after.identity.weights_digest == alone.identity.weights_digest != before.identity.weights_digest
    np.testing.assert_allclose(after.vector, alone.vector, rtol=1e-4, atol=1e-5)
    assert np.abs(after.vector - before.vector).max() > 1e-3
