"""How pictures of other proportions come to the network's square."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from nasfeat_server.errors import ConfigurationError
from nasfeat_server.imaging.framing import Framing
from nasfeat_server.imaging.types import PixelFormat, RawPixels

Pixels = npt.NDArray[np.uint8]


@pytest.mark.parametrize("shape", [(331, 331), (96, 200), (450, 500)])
@pytest.mark.parametrize("kind", ["PNG", "raw"])
def test_the_resize_is_tensorflows(shape: tuple[int, int], kind: str, photo: Pixels, decode: Any, save: Any) -> None:
    """Bilinear with antialiasing, to within 1 of 255 of tf.image.resize: smaller, larger, and both at once."""
    import tensorflow as tf

    expected = tf.image.resize(photo, shape, method="bilinear", antialias=True).numpy()
    height, width = photo.shape[:2]
    raw = RawPixels(data=photo.tobytes(), pixel_format=PixelFormat.RGB8, height=height, width=width)
    found = decode(raw if kind == "raw" else save(photo, "PNG"), shape)
    # Its own result is off by some 1e-5.
    assert np.abs(found - expected).max() < 1.001


@pytest.mark.parametrize("fraction", [0.875, 0.5, 1])
def test_a_center_crop_is_slims(fraction: float, photo: Pixels, decode: Any, save: Any) -> None:
    """The middle part of both sides, stretched: what a cut and a resize give."""
    picture = photo[:288, :384]
    rows, columns = (round(length * (1 - fraction) / 2) for length in picture.shape[:2])
    middle = picture[rows : 288 - rows, columns : 384 - columns]
    expected = np.asarray(Image.fromarray(middle).resize((96, 96), Image.Resampling.BILINEAR)).astype(int)
    off = np.abs(decode(save(picture, "PNG"), (96, 96), framing=f"center_crop:{fraction}") - expected)
    # At the edges the filter sees what lies outside of the part, which a cut picture has not.
    assert off[2:-2, 2:-2].max() <= 1


def test_a_letterbox_keeps_proportions(decode: Any, save: Any) -> None:
    """A wide white picture leaves gray above and below, a tall one at the sides, a square one none."""
    for size, rows, columns in (((200, 100), 32, 64), ((100, 200), 64, 32), ((50, 50), 64, 64)):
        out = decode(save(Image.new("RGB", size, "white"), "PNG"), (64, 64), framing="letterbox")
        white = (out == 255).all(axis=2)
        assert white.any(axis=1).sum() == rows
        assert white.any(axis=0).sum() == columns
        assert white.sum() == rows * columns
        assert (out[~white] == 128).all()
        top, left = (64 - rows) // 2, (64 - columns) // 2
        assert white[top : top + rows, left : left + columns].all()


@pytest.mark.parametrize("framing", ["center_crop:0.5", "letterbox"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_pictures_are_framed_as_they_are_seen(
    framing: str, orientation: int, kind: str, photo: Pixels, decode: Any, save: Any
) -> None:
    """A picture that lies on its side in the file gives what the upright one gives."""
    from tests.imaging.test_encoded import ORIENTATION, STORED

    upright = photo[:240, :360]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    lying = np.ascontiguousarray(STORED[orientation](upright))
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    found, expected = (
        decode(file, (97, 97), framing=framing)
        for file in (save(lying, kind, exif=exif, **options), save(upright, "PNG"))
    )
    off = np.abs(found.astype(int) - expected)
    assert off.mean() < 1


@pytest.mark.parametrize("framing", ["center_crop:0.5", "letterbox"])
@pytest.mark.parametrize("pixel_format", ["NV12", "I420"])
def test_video_frames_are_framed_alike(framing: str, pixel_format: str, photo: Pixels, decode: Any, save: Any) -> None:
    """A frame in 4:2:0 gives what the same picture in a file gives, but for the colours it has lost."""
    import av

    picture = np.ascontiguousarray(photo[:240, :360])
    layout = {"NV12": "nv12", "I420": "yuv420p"}[pixel_format]
    data = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=layout).to_ndarray().tobytes()
    raw = RawPixels(data=data, pixel_format=PixelFormat(pixel_format), height=240, width=360)
    found, expected = (decode(source, (64, 64), framing=framing) for source in (raw, save(picture, "PNG")))
    assert np.abs(found.astype(int) - expected).mean() < 3


@pytest.mark.parametrize("framing", ["center_crop:0.5", "center_crop:0.875"])
def test_a_raw_frame_of_the_right_size_is_cropped_all_the_same(framing: str, decode: Any) -> None:
    """The shortcut for frames that need no resize is none where a part of them is wanted."""
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[16:48, 16:48] = 255
    raw = RawPixels(data=frame.tobytes(), pixel_format=PixelFormat.RGB8, height=64, width=64)
    assert decode(raw, (64, 64), framing=framing).mean() > frame.mean() * 1.2


def test_a_large_jpeg_is_cropped_from_enough_pixels(photo: Pixels, decode: Any, save: Any, difference: Any) -> None:
    """What is shrunk while it is decoded leaves the middle with more pixels than are wanted of it."""
    large = Image.fromarray(photo).resize((4000, 3000), Image.Resampling.BICUBIC)
    file = save(large, "JPEG", quality=95)
    middle = large.crop((1500, 1125, 2500, 1875)).resize((331, 331), Image.Resampling.BILINEAR)
    off = difference(decode(file, (331, 331), framing="center_crop:0.25"), middle)
    assert off.mean() < 0.8


@pytest.mark.parametrize("text", ["stretch", "letterbox", "center_crop:0.875"])
def test_it_reads_back(text: str) -> None:
    """The digest of the preprocessing has the policy as the operator wrote it."""
    assert str(Framing.parse(text)) == text


@pytest.mark.parametrize("text", ["", "crop", "center_crop", "center_crop:0", "center_crop:1.5", "center_crop:x"])
def test_anything_else_is_refused(text: str) -> None:
    """The refusal says what there is."""
    with pytest.raises(ConfigurationError, match="is not stretch, letterbox or center_crop:FRACTION"):
        Framing.parse(text)
