"""A real video from photographs: a window that moves over each of them in turn."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.video.stream import VideoStream
from examples.demo.pictures import Photograph
from PIL import Image

WIDTH, HEIGHT = 480, 360
_FRAMES_A_SECOND = 12
# The window's share of the photograph, along the tighter side.
_WINDOW = 0.8

Frame = npt.NDArray[np.uint8]


def make_video(pictures: Sequence[Photograph], path: Path, *, frames_each: int) -> str:
    """Write a video with `frames_each` frames of each picture, in order.

    Returns:
        The name of the codec: H.264 if this ffmpeg can write it, MPEG-4 if not.
    """
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=_FRAMES_A_SECOND)
        if not isinstance(stream, VideoStream):
            raise TypeError(f"{codec} is no video codec")
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = Fraction(1, _FRAMES_A_SECOND)
        for picture in pictures:
            for pixels in _moving_window(picture.path, frames_each):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return codec


def read_frames(path: Path) -> Iterator[Frame]:
    """Decode a video, frame by frame: uint8 RGB [height, width, 3]."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def _moving_window(path: Path, frames: int) -> Iterator[Frame]:
    """Go from the top left corner to the bottom right one."""
    with Image.open(path) as file:
        picture = file.convert("RGB")
    scale = _WINDOW * min(picture.width / WIDTH, picture.height / HEIGHT)
    width, height = scale * WIDTH, scale * HEIGHT
    for way in np.linspace(0, 1, frames):
        left, top = float(way) * (picture.width - width), float(way) * (picture.height - height)
        box = (left, top, left + width, top + height)
        yield np.asarray(picture.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box=box), np.uint8)
