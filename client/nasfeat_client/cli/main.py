"""The commands: what they are called and what they take."""

import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import click

from nasfeat_client.cli import jobs, report
from nasfeat_client.cli.session import Session
from nasfeat_client.errors import NasfeatError

_Command = TypeVar("_Command", bound=Callable[..., Any])

_OUTPUT = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default="features.npz",
    show_default=True,
    help="The file to write; replaced only when all is done.",
)
_OUTPUTS = click.option(
    "--outputs",
    multiple=True,
    metavar="NAME",
    help="An output to write instead of the feature vector; repeat it for several. `nasfeat model` lists them.",
)
_SESSION = (
    click.option(
        "-t",
        "--target",
        envvar="NASFEAT_TARGET",
        show_envvar=True,
        default="localhost:50051",
        show_default=True,
        metavar="HOST:PORT[,...]",
        help="The server, or several of the same model.",
    ),
    click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(min=0, min_open=True),
        default=60.0,
        show_default=True,
        help="Seconds that a call, or the opening of a stream, may take.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document, and no progress."),
)


def _rate(context: click.Context, parameter: click.Parameter, value: str | None) -> Fraction | None:
    """Read a positive number, exactly: 29.97 is not a binary float."""
    if value is None:
        return None
    try:
        rate = Fraction(value)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        problem = f"{value!r} is not a number over 0, like 2, 29.97 or 30000/1001"
        raise click.BadParameter(problem, context, parameter)
    return rate


def _with_session(command: _Command) -> _Command:
    for option in reversed(_SESSION):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="nasfeat")
def nasfeat() -> None:
    """Ask a nasfeat server for NASNet-A image features."""


@nasfeat.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...", type=click.Path())
@_OUTPUT
@_OUTPUTS
@_with_session
def extract(photos: tuple[str, ...], output: Path, outputs: tuple[str, ...], **session: Any) -> int:
    """Extract the features of image files.

    Writes an .npz file with `features` (float32 [n, 4032]), `names` and the model's identity. With --outputs it has an
    array under the name of each output in the place of `features`: float32 [n, length], or [n, rows, columns, channels]
    of a spatial map. A file that fails is reported and left out; the exit code is then 1.
    """
    return jobs.extract(Session(**session), photos, output, outputs)


@nasfeat.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...", type=click.Path())
@click.option(
    "--top-k", type=click.IntRange(min=1), default=5, show_default=True, help="How many classes to name for each image."
)
@_with_session
def classify(photos: tuple[str, ...], top_k: int, **session: Any) -> int:
    """Name the most probable classes of image files.

    A file that fails is reported and left out; the exit code is then 1.
    """
    return jobs.classify(Session(**session), photos, top_k)


@nasfeat.command()
@click.argument("source")
@_OUTPUT
@_OUTPUTS
@click.option(
    "--fps", callback=_rate, metavar="NUMBER", help="Frames to take a second of video, at most.  [default: every frame]"
)
@click.option("--max-frames", type=click.IntRange(min=1), help="Stop after so many frames.")
@click.option(
    "--live/--no-live",
    default=None,
    help="Take what SOURCE shows now, and give up what comes too fast.  [default: for devices, rtsp:, udp:, srt:]",
)
@click.option(
    "--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop a live source after so many seconds."
)
@click.option(
    "--reconnect",
    "reconnect_s",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Seconds that a live source, once lost, is waited for; 0 ends with the first loss.",
)
@click.option(
    "--input-format", metavar="NAME", help="How FFmpeg reads SOURCE, if it cannot tell: v4l2, rawvideo, mpegts."
)
@_with_session
def video(source: str, output: Path, outputs: tuple[str, ...], **options: Any) -> int:
    """Extract the features of a video's frames.

    SOURCE is a file, a URL (http:, rtsp:, udp:, srt: and what else FFmpeg reads) or a device (/dev/video0). A live
    source is streamed with LATEST_ONLY: results are of what the camera sees now, frames that come faster than they
    can be computed are given up, a source that is lost is opened again, and Ctrl-C ends it with all that was
    extracted.

    Writes an .npz file with `features` (float32 [n, 4032]), `timestamps_s`, `frame_ids` (counted from 0 over all
    frames of the video), for live sources `captured_at` (seconds since 1970), and the model's identity. With --outputs
    it has an array under the name of each output in the place of `features`: float32 [n, length], or [n, rows,
    columns, channels] of a spatial map.
    """
    try:
        from nasfeat_client.cli.sources import opened  # noqa: PLC0415 - it needs the video extra
    except ModuleNotFoundError as error:
        raise click.ClickException(f"videos need the video extra: pip install 'nasfeat[video]' ({error})") from error
    session = Session(**{name: options.pop(name) for name in ("target", "timeout_s", "as_json")})
    return jobs.video(session, opened(source, **options), output, outputs)


@nasfeat.command()
@click.argument("name", default="")
@_with_session
def model(name: str, **session: Any) -> int:
    """Show what the server serves: its default model, or the one called NAME.

    The outputs are listed with their shapes for one image; `NAME/mean` is the average of the map NAME over all pixels.
    """
    opened = Session(**session)
    with opened.client() as client:
        report.print_model(client.model(name), as_json=opened.as_json)
    return 0


def run() -> None:
    """Run the command; the exit code is 0, 1 if something failed, 2 for wrong usage, 130 after Ctrl-C."""
    try:
        code = nasfeat.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.Abort:
        click.echo("Interrupted.", err=True)
        code = 130
    except NasfeatError as error:
        click.echo(f"Error: {error}", err=True)
        code = 1
    sys.exit(code)
