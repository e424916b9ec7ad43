"""A precision is chosen with evidence: the server measures it, tells it everywhere, and refuses what is too far off."""

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from nasfeat_client import AsyncFeatureClient
from nasfeat_server.app import App
from nasfeat_server.cli.validate import validate
from nasfeat_server.errors import ConfigurationError
from serving import FAKE, metric, running

SPEC = Path(__file__).parents[1] / "data" / "oracle" / "tiny_cifar" / "spec.json"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 16 pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for number in range(16):
        coarse = Image.fromarray(random.integers(0, 256, (6, 6, 3), np.uint8))
        coarse.resize((48, 40), Image.Resampling.BICUBIC).save(folder / f"{number:02}.png")
    return folder


def options(pictures: Path, **changes: Any) -> dict[str, Any]:
    """What a server in bf16 is told; TensorFlow has it on every processor."""
    told = {"engine": "tensorflow", "variant": str(SPEC), "precision": "bf16", "calibration": pictures}
    return told | {"precision_floor": 0.9} | changes


@pytest.mark.slow
async def test_what_was_measured_is_told_everywhere(pictures: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In GetModel, in the metrics, in the log; and every result names the precision."""
    caplog.set_level("INFO")
    async with running(FAKE, **options(pictures)) as app, AsyncFeatureClient(str(app.listening)) as client:
        model = await client.model()
        result = await client.extract(np.zeros((32, 32, 3), np.uint8))
        check = model.precision_check
        assert check
        assert check.images == 8
        assert 0.9 < check.min_cosine <= check.mean_cosine < 1
        assert metric(app, "nasfeat_precision_cosine", device="cpu:0", statistic="mean") == check.mean_cosine
        assert metric(app, "nasfeat_precision_cosine", device="cpu:0", statistic="min") == check.min_cosine
    assert model.identity.precision == result.identity.precision == "bf16"
    assert "over 8 pictures the cosine to fp32's feature vectors is" in caplog.text


async def test_too_far_off_it_does_not_start(pictures: Path) -> None:
    """The server ends with the figures, before it takes a frame."""
    config = dataclasses.replace(FAKE, **options(pictures, precision_floor=1.0))
    with pytest.raises(ConfigurationError, match="bf16 differs too much from fp32"):
        await App(config).run(asyncio.Event())


@pytest.mark.parametrize(
    ("floor", "code", "said"), [("0.9", 0, "bf16: over 8"), ("1", 2, "differs too much from fp32")]
)
def test_validate_says_beforehand(pictures: Path, floor: str, code: int, said: str) -> None:
    """The command answers what a server would do, with the same words and the figures."""
    told = ["--weights", "random:0", "--variant", str(SPEC), "--engine", "tensorflow", "--devices", "cpu:0"]
    told += ["--precision", "bf16", "--calibration", str(pictures), "--precision-floor", floor]
    done = CliRunner().invoke(validate, told)
    assert done.exit_code == code, done.output
    assert said in done.output


def test_another_precision_needs_pictures() -> None:
    """Without them there is no evidence."""
    done = CliRunner().invoke(validate, ["--weights", "random:0", "--precision", "int8"])
    assert done.exit_code == 2
    assert "name a folder of your own with --calibration" in done.output
