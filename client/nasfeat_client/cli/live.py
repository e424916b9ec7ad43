"""Frames of a source that does not wait: a camera, or a stream from the network."""

import itertools
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from types import TracebackType
from typing import Self

import av
import click
from av.container import InputContainer

from nasfeat_client.cli.ffmpeg import Source
from nasfeat_client.cli.tables.row import Cell
from nasfeat_client.cli.video import FrameCells, scaled, time_of
from nasfeat_client.images import Frame
from nasfeat_client.types import OverloadPolicy

# Seconds that opening a source, and reading from it, may take before it counts as lost.
_PATIENCE_S = (10.0, 5.0)
_PAUSE_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    number: int
    taken_at: datetime
    time_s: float
    picture: av.VideoFrame


class LiveVideo:
    """A live source, watched by a thread of its own while its `with` block runs.

    The thread decodes all the time and keeps the newest frame alone: whoever takes one gets what the camera sees now,
    however long the one before took.

    Args:
        source: a URL, or a device.
        fps: frames to take a second, at most; None takes every one.
        max_frames: frames to take at most.
        seconds: how long to watch; None until it is stopped.
        reconnect_s: how long a source that is lost is waited for; 0 ends with the first loss.

    Attributes:
        reconnections: how often the source was lost and came back.
    """

    overload_policy = OverloadPolicy.LATEST_ONLY

    def __init__(
        self,
        source: Source,
        *,
        fps: Fraction | None = None,
        max_frames: int | None = None,
        seconds: float | None = None,
        reconnect_s: float = 60.0,
    ) -> None:
        self._cells = FrameCells()
        self.reconnections = 0
        self._source = source
        self._fps = fps
        self._max_frames = max_frames
        self._seconds = seconds
        self._reconnect_s = reconnect_s
        self._changed = threading.Condition()
        self._newest: _Picture | None = None
        self._number = 0
        self._stopped = False
        self._failure: click.ClickException | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        container = self._source.open(timeout_s=_PATIENCE_S)
        self._thread = threading.Thread(target=self._watch, args=(container,), name="nasfeat-live", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._thread:
            # It may be in the middle of a read, which ends by itself.
            self._thread.join(_PATIENCE_S[1] + 1)

    def stop(self) -> None:
        """Let `frames` end now."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def cells(self, number: int) -> Mapping[str, Cell]:
        """Give what tells a frame apart: its number, its time in the source, and when it was decoded.

        The time in the source starts anew after a loss.
        """
        return self._cells.take(number)

    def expected_frames(self) -> int | None:
        """Give the frames that were asked for; nobody knows how many there will be."""
        return self._max_frames

    def frames(self, *, height: int, width: int) -> Iterator[Frame]:
        """Give the newest frame whenever one is asked for: uint8 RGB [height, width, 3], with its time and number.

        Numbers count every frame that was decoded, so that gaps tell of those that were never taken.

        Raises:
            click.ClickException: the source was lost for longer than it is waited for.
        """
        ends_at = None if self._seconds is None else time.monotonic() + self._seconds
        counts = itertools.count() if self._max_frames is None else range(self._max_frames)
        for _ in counts:
            taken = self._take(ends_at)
            if not taken:
                break
            self._cells.note(taken.number, {"timestamp_s": taken.time_s, "captured_at": taken.taken_at})
            pixels = scaled(taken.picture, height=height, width=width)
            yield Frame(pixels, frame_id=taken.number, capture_time=taken.taken_at)
        if self._failure:
            raise self._failure

    def _take(self, ends_at: float | None) -> _Picture | None:
        with self._changed:
            while not (self._newest or self._stopped):
                left_s = None if ends_at is None else ends_at - time.monotonic()
                if left_s is not None and left_s <= 0:
                    return None
                self._changed.wait(left_s)
            taken, self._newest = self._newest, None
            return None if self._stopped else taken

    def _watch(self, container: InputContainer) -> None:
        lost_at: float | None = None
        opened: InputContainer | None = container
        while not self._stopped:
            if opened:
                before = self._number
                self._decode(opened)
                lost_at = time.monotonic() if lost_at is None or self._number > before else lost_at
            if lost_at is None or time.monotonic() - lost_at >= self._reconnect_s:
                self._give_up()
                return
            opened = self._reopened()
            self.reconnections += opened is not None

    def _decode(self, container: InputContainer) -> None:
        stream = container.streams.video[0]
        last_period: int | None = None
        started_at = time.monotonic()
        try:
            for picture in container.decode(stream):
                if self._stopped:
                    break
                period = int((time.monotonic() - started_at) * self._fps) if self._fps else self._number
                if period != last_period:
                    self._offer(picture, float(time_of(picture, self._number, stream)))
                last_period = period
                self._number += 1
        except av.FFmpegError as error:
            click.echo(f"{self._source} was lost: {error.strerror}", err=True)
        finally:
            container.close()

    def _offer(self, picture: av.VideoFrame, time_s: float) -> None:
        with self._changed:
            self._newest = _Picture(number=self._number, taken_at=datetime.now(UTC), time_s=time_s, picture=picture)
            self._changed.notify_all()

    def _give_up(self) -> None:
        if self._reconnect_s:
            self._failure = click.ClickException(f"{self._source} was lost and not back within {self._reconnect_s:g} s")
        self.stop()

    def _reopened(self) -> InputContainer | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped, _PAUSE_S)
        try:
            return None if self._stopped else self._source.open(timeout_s=_PATIENCE_S)
        except click.ClickException:
            return None
