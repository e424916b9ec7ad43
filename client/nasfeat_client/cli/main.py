"""The commands: what they are called and what they take."""

import sys
from pathlib import Path
from typing import Any

import click

from nasfeat_client.cli import jobs, report
from nasfeat_client.cli.books import Destination
from nasfeat_client.cli.cluster.job import Cluster, extract_on
from nasfeat_client.cli.loading import load
from nasfeat_client.cli.looking import search, similar, timeline
from nasfeat_client.cli.options import key_values, rate, with_cluster, with_destination, with_session
from nasfeat_client.cli.pushing import push
from nasfeat_client.cli.session import Session, taken
from nasfeat_client.cli.tables.formats import STDOUT, format_of
from nasfeat_client.errors import NasfeatError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="nasfeat")
def nasfeat() -> None:
    """Ask a nasfeat server for NASNet-A image features."""


@nasfeat.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@with_destination
@click.option("--restart", is_flag=True, help="Begin anew, where a run that was ended early could be gone on with.")
@with_cluster
@with_session
def extract(
    sources: tuple[str, ...],
    output: Path,
    table_format: str | None,
    outputs: tuple[str, ...],
    *,
    restart: bool,
    **options: Any,
) -> int:
    """Extract the features of pictures.

    A SOURCE is a picture, a folder with pictures in it and below it, a pattern ('photos/**/*.jpg'), a list of paths
    (.txt), an archive (.tar, .tar.gz, .tar.bz2, .tar.xz, .zip), or a dash: a list or a tar archive from stdin.

    Writes a table with `name`, `features` (4032 float32 values) and the model's identity. With --outputs it has a
    column under the name of each output in the place of `features`; of a spatial map a Parquet or Arrow column has all
    values one behind the other, and their shape in its metadata. A picture that fails is reported, and written into
    FILE.errors.jsonl beside the table; the exit code is then 1.

    A run into a Parquet file that was killed, interrupted, or lost its server, is gone on with by the same command.
    """
    session, options = taken(options)
    cluster = Cluster(**options)
    if cluster.on:
        return extract_on(cluster, session, sources, output, outputs, table_format=table_format, restart=restart)
    if cluster.told:
        raise click.UsageError(f"--{next(iter(cluster.told))} is for clusters: say which one, with --on")
    destination = _destination(output, table_format, outputs, as_json=session.as_json)
    return jobs.extract(session, sources, destination, restart=restart)


@nasfeat.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--top-k", type=click.IntRange(min=1), default=5, show_default=True, help="How many classes to name for each image."
)
@with_session
def classify(sources: tuple[str, ...], top_k: int, **session: Any) -> int:
    """Name the most probable classes of pictures.

    A SOURCE is a picture or what stands for several, as in `nasfeat extract`. A picture that fails is reported and left
    out; the exit code is then 1.
    """
    return jobs.classify(Session(**session), sources, top_k)


@nasfeat.command()
@click.argument("source")
@with_destination
@click.option(
    "--fps", callback=rate, metavar="NUMBER", help="Frames to take a second of video, at most.  [default: every frame]"
)
@click.option(
    "--key-frames", is_flag=True, help="Take key frames alone: many times as fast to decode; they are counted."
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
@click.option(
    "--input-option",
    "input_options",
    multiple=True,
    callback=key_values,
    metavar="KEY=VALUE",
    help="An option of FFmpeg's for reading SOURCE; repeat it for several: rtsp_transport=tcp, video_size=640x360.",
)
@with_session
def video(source: str, output: Path, table_format: str | None, outputs: tuple[str, ...], **options: Any) -> int:
    """Extract the features of a video's frames.

    SOURCE is a file, a URL (http:, rtsp:, udp:, srt: and what else FFmpeg reads), a device (/dev/video0), a sequence of
    pictures ('frames/%05d.png', 'frames/*.png') or a dash: stdin, as from `ffmpeg ... -f nut -`.

    A live source is streamed with LATEST_ONLY: results are of what the camera sees now, frames that come faster than
    they can be computed are given up, a source that is lost is opened again, and Ctrl-C ends it with all that was
    extracted.

    Writes a table with `frame_id` (counted from 0 over all frames of the video), `timestamp_s` (its time there), for
    live sources `captured_at`, `features` (4032 float32 values), and the model's identity; --outputs as in `nasfeat
    extract`.
    """
    try:
        from nasfeat_client.cli.sources import Reading, opened  # noqa: PLC0415 - it needs the video extra
    except ModuleNotFoundError as error:
        raise click.ClickException(f"videos need the video extra: pip install 'nasfeat[video]' ({error})") from error
    session, options = taken(options)
    destination = _destination(output, table_format, outputs, as_json=session.as_json)
    reading = Reading(input_format=options.pop("input_format"), options=options.pop("input_options"))
    return jobs.video(session, opened(source, reading=reading, **options), destination)


def _destination(output: Path, table_format: str | None, outputs: tuple[str, ...], *, as_json: bool) -> Destination:
    if output == STDOUT and as_json:
        raise click.UsageError("the table goes to stdout: --json would put its document among the rows")
    if output.is_dir():
        raise click.UsageError(f"{output} is a folder, not a file to write")
    return Destination(path=output, table_format=format_of(output, table_format), outputs=outputs)


@nasfeat.command()
@click.argument("name", default="")
@with_session
def model(name: str, **session: Any) -> int:
    """Show what the server serves: its stable version, or the one called NAME.

    The outputs are listed with their shapes for one image; `NAME/mean` is the average of the map NAME over all pixels.
    """
    opened = Session(**session)
    with opened.client() as client:
        report.print_model(client.model(name), as_json=opened.as_json)
    return 0


for _command in (similar, search, timeline, push, load):
    nasfeat.add_command(_command)


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
