"""Real pictures in a folder for each class, and a network that trains in seconds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nasfeat_server.cli.fine_tune import _decode
from nasfeat_server.network.training.options import Job
from nasfeat_server.network.training.pictures import Decoder

ORACLE = Path(__file__).parents[1] / "data" / "oracle"
Folder = Callable[..., Path]
Jobs = Callable[..., Job]


@pytest.fixture
def decode() -> Decoder:
    """Decode as the command does."""
    return _decode


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Write crops of scikit-image's photographs as JPEG files, a folder for each photograph."""

    def write(classes: tuple[str, ...] = ("coffee", "chelsea"), count: int = 6, name: str = "data") -> Path:
        import skimage.data

        draw = np.random.default_rng(0)
        for label in classes:
            photo = Image.fromarray(getattr(skimage.data, label)())
            place = tmp_path / name / label
            place.mkdir(parents=True)
            for number in range(count):
                side = int(min(photo.size) * draw.uniform(0.5, 0.9))
                left, upper = (int(draw.integers(0, length - side)) for length in photo.size)
                crop = photo.crop((left, upper, left + side, upper + side)).resize((96, 96))
                crop.save(place / f"{number:02}.jpg", quality=92)
        return tmp_path / name

    return write


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    """The smallest network that has cells of both kinds and an auxiliary head, from random weights."""
    spec = json.loads((ORACLE / "tiny_cifar" / "spec.json").read_text())
    path = tmp_path / "spec.json"
    path.write_text(json.dumps({**spec, "name": "smallest", "num_cells": 2, "num_reduction_layers": 1}))
    return path


@pytest.fixture
def job(tmp_path: Path, spec_file: Path) -> Jobs:
    """Make a job around a data folder, with everything else in a temporary directory."""

    def make(data: Path, **changed: Any) -> Job:
        places = {name: tmp_path / name for name in ("output", "work", "logs")}
        return Job(**{**_JOB, **places, "data": data, "variant": str(spec_file), **changed})

    return make


_JOB: dict[str, Any] = {
    "validation": 0.0,
    "skip_unreadable": False,
    "weights": "random:0",
    "keras_wiring": False,
    "cache": None,
    "form": "hub",
    "overwrite": False,
    "checkpoint_s": 600.0,
}
