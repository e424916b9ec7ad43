"""Frames of a video file, at the size that the model takes."""

import math
from collections import deque
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import islice
from types import TracebackType
from typing import Self

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.stream import VideoStream

from nasfeat_client.cli.ffmpeg import Source
from nasfeat_client.cli.tables.row import Cell
from nasfeat_client.images import Frame
from nasfeat_client.types import OverloadPolicy

# Matroska rounds timestamps to milliseconds: a frame may seem to come a little before its time.
_JITTER_S = Fraction(1, 1000)


class FrameCells:
    """What is written beside the results of frames, from when they are taken to when their results come, in order."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Mapping[str, Cell]]] = deque()

    def note(self, number: int, cells: Mapping[str, Cell]) -> None:
        """Keep what belongs to frame `number`, which comes after all before."""
        self._waiting.append((number, {"frame_id": number, **cells}))

    def take(self, number: int) -> Mapping[str, Cell]:
        """Give what belongs to frame `number`; those before it got no features, and are forgotten."""
        while True:
            noted, cells = self._waiting.popleft()
            if noted == number:
                return cells


class Video:
    """A video file, open while its `with` block runs; its frames wait until they are taken.

    Args:
        source: a file, or what else ends by itself.
        key_frames: take frames that stand for themselves alone, and count those.
        fps: frames to take a second of video, at most; None takes every one.
        max_frames: frames to take at most.
    """

    # Nothing ends it in order: Ctrl-C ends the run.
    stop = None
    overload_policy = OverloadPolicy.BLOCK

    def __init__(
        self,
        source: Source,
        *,
        key_frames: bool = False,
        fps: Fraction | None = None,
        max_frames: int | None = None,
    ) -> None:
        self._cells = FrameCells()
        self._source = source
        self._key_frames = key_frames
        self._fps = fps
        self._max_frames = max_frames
        self._container: InputContainer | None = None

    def __enter__(self) -> Self:
        self._container = self._source.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def cells(self, number: int) -> Mapping[str, Cell]:
        """Give what tells a frame apart: its number in the file, and its time there."""
        return self._cells.take(number)

    def expected_frames(self) -> int | None:
        """Estimate how many frames there will be; None if the file does not say."""
        stream = self._opened.streams.video[0]
        if self._key_frames:
            return self._max_frames
        count = stream.frames
        if self._fps and self._opened.duration:
            sampled = math.ceil(self._opened.duration * self._fps / av.time_base)
            count = min(count or sampled, sampled)
        return min(count or self._max_frames or 0, self._max_frames or count) or None

    def frames(self, *, height: int, width: int) -> Iterator[Frame]:
        """Decode the frames wanted: uint8 RGB [height, width, 3] each, upright, with its number in the file.

        Raises:
            click.ClickException: the file is damaged; the frames before are good.
        """
        stream = self._opened.streams.video[0]
        stream.thread_type = "AUTO"
        if self._key_frames:
            # The decoder passes over the others, which costs next to nothing.
            stream.codec_context.skip_frame = "NONKEY"
        try:
            for number, time_s, picture in islice(self._due(stream), self._max_frames):
                self._cells.note(number, {"timestamp_s": float(time_s)})
                yield Frame(scaled(picture, height=height, width=width), frame_id=number)
        except av.FFmpegError as error:
            raise self._source.unreadable(error) from error

    def _due(self, stream: VideoStream) -> Iterator[tuple[int, Fraction, av.VideoFrame]]:
        """Give the first frame of each period of the sampling rate, with its number and time."""
        last_period: int | None = None
        for number, picture in enumerate(self._opened.decode(stream)):
            time_s = time_of(picture, number, stream)
            period = math.floor((time_s + _JITTER_S) * self._fps) if self._fps else number
            if period != last_period:
                yield number, time_s, picture
            last_period = period

    @property
    def _opened(self) -> InputContainer:
        if not self._container:
            raise RuntimeError("the video is not open")
        return self._container


def time_of(picture: av.VideoFrame, number: int, stream: VideoStream) -> Fraction:
    """Give the presentation time of a frame in seconds."""
    if picture.pts is not None and picture.time_base:
        return picture.pts * picture.time_base
    # Raw streams have no timestamps.
    return number / (stream.average_rate or Fraction(25))


def scaled(picture: av.VideoFrame, *, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Give a frame upright as uint8 RGB [height, width, 3]."""
    # Telephones store upright films lying down, with a note of how to turn them, counterclockwise.
    turns = round(picture.rotation / 90) % 4
    if turns % 2:
        height, width = width, height
    pixels = picture.reformat(width=width, height=height, format="rgb24").to_ndarray()
    return np.rot90(pixels, turns)
