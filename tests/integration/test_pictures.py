"""Pictures of every kind through `nasfeat extract` and NASNet-A Large, against the bare Keras model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pytest
from PIL import ExifTags, Image
from skimage import data

from pictures import black, png
from programs import ANYWHERE, run_client, server

_MB = 1e6
_TURNED_LEFT = 6
_GOOD = ("photo.jpg", "photo.png", "photo.webp", "gray.png", "turned.jpg")
_BAD = {
    "truncated.jpg": "JPEG is truncated",
    "text.jpg": "not an image: none of JPEG, PNG, WebP, GIF, BMP, TIFF",
    "huge.png": "image is 20000x20000 = 400 megapixels, the limit is 50",
}


def _write_pictures(folder: Path) -> None:
    cat, astronaut = Image.fromarray(data.chelsea()), Image.fromarray(data.astronaut())
    cat.save(folder / "photo.jpg")
    astronaut.save(folder / "photo.png")
    cat.save(folder / "photo.webp")
    Image.fromarray(data.camera()).save(folder / "gray.png")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = _TURNED_LEFT
    astronaut.rotate(90, expand=True).save(folder / "turned.jpg", exif=exif)
    (folder / "truncated.jpg").write_bytes((folder / "photo.jpg").read_bytes()[:5000])
    (folder / "text.jpg").write_text("this is text")
    (folder / "huge.png").write_bytes(png(20_000, 20_000, black(20_000, 20_000)))


def _pixels(path: Path) -> npt.NDArray[np.float32]:
    """Decode as the server's documentation says, with Pillow alone: antialiased bilinear, then turned upright."""
    with Image.open(path) as image:
        turned = image.getexif().get(ExifTags.Base.Orientation) == _TURNED_LEFT
        stretched = image.convert("RGB").resize((331, 331), Image.Resampling.BILINEAR)
    upright = stretched.transpose(Image.Transpose.ROTATE_270) if turned else stretched
    return np.asarray(upright).astype(np.float32) / np.float32(255)


def _distance(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


@pytest.mark.slow
@pytest.mark.timeout(280)
async def test_pictures_through_the_command_are_the_bare_model_s_and_bad_ones_fail_alone(tmp_path: Path) -> None:
    """Five kinds of photograph give the Keras model's features; three bad files are each named; memory stays small."""
    _write_pictures(tmp_path)
    names = [tmp_path / name for name in (*_GOOD, *_BAD)]
    output = tmp_path / "features.npz"
    async with server("--weights", "random:0", "--devices", "cpu:0", *ANYWHERE) as running:
        code, printed, complained = await run_client("extract", *names, "-o", output, "-t", running.listening, "--json")
        _check_memory(psutil.Process(running.process.pid), running.replicas())
    assert code == 1
    for name, message in _BAD.items():
        assert name in complained or name in printed
        assert message in complained + printed
    assert json.loads(printed)
    with np.load(output) as written:
        features, extracted = written["features"], [Path(name).name for name in written["name"]]
    assert extracted == list(_GOOD)
    _check_features(features, [tmp_path / name for name in _GOOD])


def _check_features(features: npt.NDArray[np.float32], paths: list[Path]) -> None:
    from nasfeat_server.network import load

    network = load("random:0")
    expected = network.features(np.stack([_pixels(path) for path in paths]))
    distances = [_distance(one, other) for one, other in zip(features, expected, strict=True)]
    assert max(distances) < 1e-3
    # The bound means something: other photographs are a hundred times as far away.
    assert _distance(features[1], expected[0]) > 0.1


def _check_memory(own: psutil.Process, replicas: list[psutil.Process]) -> None:
    """Hold the server to 200 MB beside the arena, and its replica of Large to 2 GB at batch 4."""
    arena = sum(row.rss for row in own.memory_maps() if "nasfeat-arena" in row.path)
    assert own.memory_info().rss - arena < 200 * _MB
    # Its own: the artifact's pages are the page cache's, and as many files as there are batch sizes that pay here.
    assert [replica.memory_full_info().uss < 2000 * _MB for replica in replicas] == [True]
