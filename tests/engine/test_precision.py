"""Another precision than fp32 is held against it, and refused where it differs too much."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engines import engine_of, options_of
from nasfeat_server.engine.precision import check_precision, cosines
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.imaging.folder import read_folder
from nasfeat_server.network.spec import VARIANTS

# Processors without bf16 instructions run it in TensorFlow all the same, slowly.
CASES = [("openvino", "int8", 0.97), ("tensorflow", "bf16", 0.998), ("jax", "bf16", 0.998)]
SMALL = dataclasses.replace(VARIANTS["cifar"], name="small", num_cells=3)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 24 pictures with structure, and a file that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for number in range(24):
        coarse = Image.fromarray(random.integers(0, 256, (6, 6, 3), np.uint8))
        coarse.resize((96, 80), Image.Resampling.BICUBIC).save(folder / f"{number:02}.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.mark.parametrize(("engine", "precision", "least"), CASES)
def test_it_is_close_to_fp32_and_says_how_close(engine: str, precision: str, least: float, pictures: Path) -> None:
    """Half of the pictures calibrate, the other half are compared; the description names the precision."""
    options = options_of(engine, "random:0", SMALL, precision=precision, calibration=str(pictures))
    made = engine_of(options)
    assert made.load().precision == precision
    made.warm_up(4)
    check = check_precision(made, options, 4)
    assert check
    assert check.images == 12
    assert least < check.min_cosine <= check.mean_cosine <= 1 + 1e-6
    # It is another arithmetic, and not fp32 under another name.
    assert check.mean_cosine < 1 - 1e-7


def test_below_the_floor_it_is_refused(pictures: Path) -> None:
    """The refusal has the figures, and says what can be done."""
    options = options_of("openvino", "random:0", SMALL, precision="int8", calibration=str(pictures))
    made = engine_of(options)
    made.load()
    with pytest.raises(ConfigurationError, match=r"over 12 pictures the cosine .* the floor of the mean is 1;"):
        check_precision(made, dataclasses.replace(options, precision_floor=1.0), 1)


def test_a_broken_device_is_refused(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features that are no numbers have no cosine that could pass."""
    options = options_of("openvino", "random:0", SMALL, precision="int8", calibration=str(pictures))
    made = engine_of(options)
    made.load()
    shape = (1, made.load().output_shapes["global_pool"][0])
    monkeypatch.setattr(made, "run", lambda images, outputs: {"global_pool": np.full(shape, np.nan, np.float32)})
    with pytest.raises(ConfigurationError, match="nan in the mean"):
        check_precision(made, dataclasses.replace(options, precision_floor=0.5), 1)


def test_fp32_is_held_against_nothing() -> None:
    """It is what others are held against."""
    options = options_of("openvino", "random:0", SMALL)
    assert check_precision(engine_of(options), options, 1) is None


def test_cosines_are_of_each_pair() -> None:
    """Rows of the same direction have 1, opposite ones -1, whatever their length."""
    one = np.array([[1, 0], [0, 2], [3, 0]], np.float32)
    other = np.array([[5, 0], [0, -1], [0, 1]], np.float32)
    np.testing.assert_allclose(cosines(one, other), [1, -1, 0])


@pytest.mark.slow
def test_other_pictures_make_another_artifact(pictures: Path, tmp_path: Path) -> None:
    """What was calibrated is found again by the pictures' content, not by their place."""

    def artifact(folder: Path) -> Any:
        return options_of("openvino", "random:0", SMALL, precision="int8", calibration=str(folder)).artifact

    for path in pictures.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert artifact(tmp_path) == artifact(pictures)
    Image.new("RGB", (64, 64), "red").save(tmp_path / "00.png")
    assert artifact(tmp_path) != artifact(pictures)


def test_a_folder_gives_its_pictures_evenly(pictures: Path, tmp_path: Path) -> None:
    """What is no picture is passed over; of many, some of all parts are taken; too few are refused."""
    assert read_folder(pictures, 32, 100).shape == (24, 32, 32, 3)
    some = read_folder(pictures, 32, 12)
    np.testing.assert_array_equal(some, read_folder(pictures, 32, 100)[[0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22]])
    with pytest.raises(ConfigurationError, match="has 0 pictures that can be read; 8 or more are needed"):
        read_folder(tmp_path, 32, 12)
    with pytest.raises(ConfigurationError, match="there is no directory"):
        read_folder(tmp_path / "none", 32, 12)
