"""Which kind of video a source is."""

from fractions import Fraction
from pathlib import Path
from urllib.parse import urlsplit

import click

from nasfeat_client.cli.live import LiveVideo
from nasfeat_client.cli.video import Video

# Of these nobody can ask for an earlier frame; what http: brings may be a file.
_LIVE_SCHEMES = frozenset({"rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "udp"})
_DEVICES = {"/dev/video": "v4l2"}


def opened(
    source: str,
    *,
    live: bool | None,
    fps: Fraction | None,
    max_frames: int | None,
    seconds: float | None,
    reconnect_s: float,
    input_format: str | None,
) -> Video | LiveVideo:
    """Give the video behind `source`, which is opened by its `with` block.

    Raises:
        click.UsageError: it is no file, URL or device, or an option is for live sources.
    """
    scheme = urlsplit(source).scheme
    device = next((name for prefix, name in _DEVICES.items() if source.startswith(prefix)), None)
    if live is None:
        live = scheme in _LIVE_SCHEMES or device is not None
    if not live and seconds is not None:
        raise click.UsageError("--seconds is for live sources; a file ends by itself, or after --max-frames")
    if "://" not in source and not Path(source).exists():
        raise click.UsageError(f"there is no file or device {source}")
    if live:
        return LiveVideo(
            source,
            input_format=input_format or device,
            fps=fps,
            max_frames=max_frames,
            seconds=seconds,
            reconnect_s=reconnect_s,
        )
    return Video(source, input_format=input_format, fps=fps, max_frames=max_frames)
