"""The command that puts a load on a server."""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.live import Live
from rich.table import Table

from nasfeat_client.cli.load import Measured, Plan, run_load
from nasfeat_client.cli.options import with_session
from nasfeat_client.cli.pictures.sources import check_sources, pictures_of
from nasfeat_client.cli.session import Session, described_model, taken
from nasfeat_client.cli.tables.place import explained, reserved
from nasfeat_client.images import Image
from nasfeat_client.types import ModelInfo, OverloadPolicy, Priority, StreamOptions

_SHOWN_EVERY_S = 0.5
# That many different frames: of equal ones that are on their way together a server computes one.
_MOST_IMAGES = 256


@click.command()
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option("-n", "--streams", type=click.IntRange(min=1), default=4, show_default=True, help="Streams open at once.")
@click.option(
    "-r",
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    help="Frames a second, over all streams.  [default: as fast as the windows allow]",
)
@click.option(
    "--arrivals",
    type=click.Choice(["constant", "poisson"]),
    default="constant",
    show_default=True,
    help="Frames of a stream come at equal distances, or at random, as from many independent users.",
)
@click.option(
    "-d",
    "--duration",
    "duration_s",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="Seconds for which frames are sent; all of them are then awaited.",
)
@click.option("--window", type=click.IntRange(min=1), help="Frames in flight of each stream.  [default: the server's]")
@click.option(
    "--frames-per-message", type=click.IntRange(min=1), default=1, show_default=True, help="Frames in one message."
)
@click.option(
    "--policy",
    type=click.Choice([policy.name.lower() for policy in OverloadPolicy]),
    default="block",
    show_default=True,
    help="What becomes of frames that come too fast.",
)
@click.option(
    "--priority",
    type=click.Choice([priority.name.lower() for priority in Priority]),
    default="normal",
    show_default=True,
    help="The streams' share of the devices.",
)
@click.option("--frame-deadline", type=click.FloatRange(min=0, min_open=True), help="Seconds that a frame may take.")
@click.option("--outputs", multiple=True, metavar="NAME", help="An output to ask for; repeat it for several.")
@click.option("--seed", default=0, show_default=True, help="Of the random arrivals and frames.")
@click.option(
    "--report", type=click.Path(path_type=Path, dir_okay=False), help="A file for the report, as --json prints it."
)
@with_session
def load(sources: tuple[str, ...], report: Path | None, **options: Any) -> int:
    """Put a load on a server, and measure what it does.

    The frames are the pictures of SOURCE..., as in `nasfeat extract`, sent as files; without any they are random pixels
    of the network's size, which cost no decoding. With a rate, latency counts from when a frame was due: time that it
    waited for room to be sent is in it. The exit code is 1 if any frame failed.
    """
    session, options = taken(options)
    with session.client() as client:
        model = described_model(client)
    plan = _plan(**options)
    images = _pictures(sources) if sources else _noise(model, plan)
    measured = Measured()
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(reserved(report)) if report else None
        asyncio.run(_shown(session, plan, images, measured))
        document = json.dumps(measured.report(plan), indent=2)
        if place:
            with explained(place.path):
                place.temporary.write_text(f"{document}\n")
            place.fill()
    if session.as_json:
        click.echo(document)
    else:
        Console().print(_summary(measured))
    return int(not measured.all_well)


def _plan(*, arrivals: str, policy: str, priority: str, frame_deadline: float | None, **options: Any) -> Plan:
    stream = StreamOptions(
        outputs=options.pop("outputs"),
        window=options.pop("window"),
        frames_per_message=options.pop("frames_per_message"),
        overload_policy=OverloadPolicy[policy.upper()],
        priority=Priority[priority.upper()],
        frame_deadline_s=frame_deadline,
    )
    return Plan(poisson=arrivals == "poisson", options=stream, **options)


def _pictures(sources: Sequence[str]) -> list[Image]:
    """Read the first pictures of `sources`: a disk should not be what is measured."""
    check_sources(sources)
    images: list[Image] = []
    for picture in pictures_of(sources):
        try:
            image = picture.read()
            images.append(image if isinstance(image, bytes) else Path(str(image)).read_bytes())
        except OSError as error:
            raise click.ClickException(f"cannot read {picture.name}: {error.strerror or error}") from error
        if len(images) == _MOST_IMAGES:
            break
    if not images:
        raise click.ClickException("there are no pictures")
    return images


def _noise(model: ModelInfo, plan: Plan) -> list[Image]:
    shape = (_MOST_IMAGES, model.image_height, model.image_width, model.image_channels)
    return list(np.random.default_rng(plan.seed).integers(0, 256, shape, np.uint8))


async def _shown(session: Session, plan: Plan, images: list[Image], measured: Measured) -> None:
    """Run the load, with a table of what it does for people at a terminal."""
    running = asyncio.create_task(run_load(session.targets, plan, images, measured, session.config()))
    console = Console(stderr=True)
    if session.as_json or not console.is_terminal:
        await running
        return
    before = 0
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while not running.done():
            await asyncio.wait((running,), timeout=_SHOWN_EVERY_S)
            succeeded = len(measured.latencies_s)
            live.update(_now(measured, succeeded - before), refresh=True)
            before = succeeded
    await running


def _now(measured: Measured, fresh: int) -> Table:
    """Show the last moment."""
    table = Table("sent", "answered", "on their way", "a second", "p50 ms", "p99 ms", "dropped", "failed")
    latencies = measured.percentiles_s(fresh) if fresh else {}
    failed = measured.answered - measured.outcomes["ok"] - measured.outcomes["dropped"]
    table.add_row(
        str(measured.sent),
        str(measured.answered),
        str(measured.sent - measured.answered),
        f"{fresh / _SHOWN_EVERY_S:.0f}",
        *(f"{latencies[rank] * 1000:.1f}" if latencies else "-" for rank in ("p50", "p99")),
        str(measured.outcomes["dropped"]),
        str(failed),
    )
    return table


def _summary(measured: Measured) -> Table:
    """Show the end."""
    table = Table(show_header=False)
    table.add_column(style="bold")
    rows = {"sent": measured.sent, "due, but never sent": measured.unsent, **measured.outcomes, **measured.failures}
    for name, value in rows.items():
        if value:
            table.add_row(name, str(value))
    if measured.resumptions:
        table.add_row("streams resumed", str(measured.resumptions))
    table.add_row("ok a second", f"{measured.outcomes['ok'] / measured.elapsed_s:.1f}")
    for name, seconds in measured.percentiles_s().items():
        table.add_row(f"latency {name}", f"{seconds * 1000:.1f} ms")
    for name, total in measured.stages_s.items():
        mean_s = total / max(1, measured.outcomes["ok"])
        table.add_row(f"in the server: {name.removesuffix('_s')}", f"{mean_s * 1000:.2f} ms")
    return table
