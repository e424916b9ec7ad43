"""Which kind of video a source is."""

import glob
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlsplit

import click

from nasfeat_client.cli.ffmpeg import STDIN, Source
from nasfeat_client.cli.live import LiveVideo
from nasfeat_client.cli.video import Video

# Of these nobody can ask for an earlier frame; what http: brings may be a file.
_LIVE_SCHEMES = frozenset({"rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "udp"})
_DEVICES = {"/dev/video": "v4l2"}
_STDIN = "-"
# A numbered sequence of pictures, as in frames/%05d.png, and a pattern for one.
_NUMBERED = re.compile(r"%0?\d*d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the user told of how a source is read; see `Source`."""

    input_format: str | None
    options: Mapping[str, str]


def opened(
    source: str,
    *,
    reading: Reading,
    live: bool | None,
    key_frames: bool,
    fps: Fraction | None,
    max_frames: int | None,
    seconds: float | None,
    reconnect_s: float,
) -> Video | LiveVideo:
    """Give the video behind `source`, which is opened by its `with` block.

    Raises:
        click.UsageError: it is no file, URL or device, or an option is for sources of another kind.
    """
    found = _source(source, reading)
    if live is None:
        live = urlsplit(source).scheme in _LIVE_SCHEMES or _device(source) is not None
    if not live and seconds is not None:
        raise click.UsageError("--seconds is for live sources; a file ends by itself, or after --max-frames")
    if live and key_frames:
        raise click.UsageError("--key-frames is for files; of a live source the newest frame is taken, whichever it is")
    if live:
        return LiveVideo(found, fps=fps, max_frames=max_frames, seconds=seconds, reconnect_s=reconnect_s)
    return Video(found, key_frames=key_frames, fps=fps, max_frames=max_frames)


def _source(source: str, reading: Reading) -> Source:
    """Give what FFmpeg opens for `source`, and how."""
    input_format, options = reading.input_format or _device(source), reading.options
    if source == _STDIN:
        return Source(location=STDIN, input_format=input_format, options=options)
    if not ("://" in source or Path(source).exists() or _NUMBERED.search(source)):
        if not (glob.has_magic(source) and glob.glob(source)):  # noqa: PTH207 - Path.glob takes no absolute pattern
            raise click.UsageError(f"there is no file or device {source}")
        options = {"pattern_type": "glob", **options}
    return Source(location=source, input_format=input_format, options=options)


def _device(source: str) -> str | None:
    """Give the format of the device called `source`; None if it is none."""
    return next((name for prefix, name in _DEVICES.items() if source.startswith(prefix)), None)
