"""4:2:0 video frames, against ffmpeg."""

from fractions import Fraction
from typing import Any

import av
import av.filter
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from nasfeat_server.imaging.types import ColorMatrix, ColorRange, PixelFormat, RawPixels

Pixels = npt.NDArray[np.uint8]
FORMATS = {PixelFormat.NV12: "nv12", PixelFormat.I420: "yuv420p"}


def exact_rgb(frame: av.VideoFrame, matrix: str = "bt601", steps: str = "limited") -> Pixels:
    """Convert by ffmpeg's scaler without its shortcuts."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25))
    colours = f"in_color_matrix={matrix}:in_range={steps}:out_range=full"
    scale = graph.add("scale", f"flags=neighbor+accurate_rnd+full_chroma_int:{colours}")
    layout, sink = graph.add("format", "pix_fmts=rgb24"), graph.add("buffersink")
    source.link_to(scale)
    scale.link_to(layout)
    layout.link_to(sink)
    graph.configure()
    frame.pts = 0
    source.push(frame)
    pulled = graph.pull()
    assert isinstance(pulled, av.VideoFrame)
    return np.asarray(pulled.to_ndarray(), np.uint8)


def frame_of(rgb: Pixels, pixel_format: PixelFormat) -> tuple[av.VideoFrame, RawPixels]:
    """Give a video frame in ffmpeg's and in our form."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24").reformat(format=FORMATS[pixel_format])
    data = frame.to_ndarray().tobytes()
    return frame, RawPixels(data=data, pixel_format=pixel_format, height=frame.height, width=frame.width)


@pytest.mark.parametrize("pixel_format", FORMATS)
@pytest.mark.parametrize(("matrix", "told"), [(ColorMatrix.BT601, "bt601"), (ColorMatrix.BT709, "bt709")])
@pytest.mark.parametrize(("steps", "range_told"), [(ColorRange.LIMITED, "limited"), (ColorRange.FULL, "full")])
def test_every_matrix_and_range_is_ffmpegs(
    pixel_format: PixelFormat,
    matrix: ColorMatrix,
    told: str,
    steps: ColorRange,
    range_told: str,
    decode: Any,
    difference: Any,
) -> None:
    """On planes of noise in that range no value is more than two steps from ffmpeg's exact conversion."""
    random = np.random.default_rng(2)
    noise = random.integers(0, 256, (135, 160), np.uint8)
    if steps is ColorRange.LIMITED:
        noise[:90] = random.integers(16, 236, (90, 160), np.uint8)
        noise[90:] = random.integers(16, 241, (45, 160), np.uint8)
    frame = av.VideoFrame.from_ndarray(noise, format=FORMATS[pixel_format])
    raw = RawPixels(
        data=noise.tobytes(),
        pixel_format=pixel_format,
        height=90,
        width=160,
        color_matrix=matrix,
        color_range=steps,
    )
    assert difference(decode(raw, (90, 160)), exact_rgb(frame, told, range_told)).max() <= 2


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_unscaled_frames_are_ffmpegs(pixel_format: PixelFormat, decode: Any, difference: Any) -> None:
    """On noise, where every error shows, no value is more than one step from ffmpeg's exact conversion."""
    noise = np.random.default_rng(1).integers(0, 256, (90, 160, 3), np.uint8)
    frame, raw = frame_of(noise, pixel_format)
    assert difference(decode(raw, (90, 160)), exact_rgb(frame)).max() <= 1


def test_unscaled_frames_are_near_ffmpegs_fast_conversion(photo: Pixels, decode: Any, difference: Any) -> None:
    """PyAV's default conversion, which rounds down, is within three steps and two on average."""
    frame, raw = frame_of(photo[:, :450], PixelFormat.I420)
    off = difference(decode(raw, (300, 450)), frame.reformat(format="rgb24").to_ndarray())
    assert off.max() <= 3
    assert off.mean() < 2


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_scaled_frames_are_as_if_converted_first(
    pixel_format: PixelFormat, photo: Pixels, decode: Any, difference: Any
) -> None:
    """Resizing the planes before the conversion gives what resizing the RGB picture does."""
    large = np.asarray(Image.fromarray(photo).resize((1280, 720), Image.Resampling.BICUBIC))
    frame, raw = frame_of(large, pixel_format)
    expected = Image.fromarray(exact_rgb(frame)).resize((331, 331), Image.Resampling.BILINEAR)
    off = difference(decode(raw), expected)
    assert off.mean() < 1
    assert off.max() <= 8


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_padding_between_rows_is_skipped(pixel_format: PixelFormat, photo: Pixels, decode: Any) -> None:
    """A row stride above the width changes nothing."""
    _, tight = frame_of(photo[:, :450], pixel_format)
    width, height, stride = 450, 300, 512
    rows = np.frombuffer(tight.data, np.uint8)
    planes = (
        np.split(rows, [height * width])
        if pixel_format is PixelFormat.NV12
        else np.split(rows, [height * width, height * width * 5 // 4])
    )
    widths = [width, width] if pixel_format is PixelFormat.NV12 else [width, width // 2, width // 2]
    padded = b"".join(
        np.pad(plane.reshape(-1, row), ((0, 0), (0, stride * row // width - row)), constant_values=200).tobytes()
        for plane, row in zip(planes, widths, strict=True)
    )
    wide = RawPixels(data=padded, pixel_format=pixel_format, height=height, width=width, row_stride=stride)
    np.testing.assert_array_equal(decode(wide), decode(tight))


@pytest.mark.parametrize(
    ("luma", "chroma", "rgb"),
    [
        (16, (128, 128), (0, 0, 0)),
        (235, (128, 128), (255, 255, 255)),
        (0, (128, 128), (0, 0, 0)),
        (81, (90, 240), (255, 0, 0)),
    ],
)
def test_the_range_is_limited(luma: int, chroma: tuple[int, int], rgb: tuple[int, int, int], decode: Any) -> None:
    """Luma 16 is black, 235 is white, below is black still; red is where BT.601 puts it."""
    data = bytes([luma] * 16 + [*chroma] * 4)
    pixels = decode(RawPixels(data=data, pixel_format=PixelFormat.NV12, height=4, width=4), (4, 4))
    assert np.abs(pixels.reshape(-1, 3).astype(int) - rgb).max() <= 1
