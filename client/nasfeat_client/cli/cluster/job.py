"""`nasfeat extract --on`: what the command does, and says, where a cluster does the work."""

import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from nasfeat_client.cli.cluster.conducting import Ended, Event, PartDone, Planned
from nasfeat_client.cli.cluster.locations import Location
from nasfeat_client.cli.cluster.order import Engine, Order, Replicas, Servers
from nasfeat_client.cli.cluster.plan import LIST_SUFFIXES
from nasfeat_client.cli.pictures.sources import STDIN, check_sources, listed, paths_in
from nasfeat_client.cli.progress import shown_progress
from nasfeat_client.cli.session import Session
from nasfeat_client.cli.tables.errors import ItemError
from nasfeat_client.cli.tables.formats import TableFormat

_PART_SIZE, _BATCH_SIZE = 256, 4
# All are in the file beside the table; this many are in the JSON document.
_ERRORS_SHOWN = 1000
# A path has lost one of the two slashes of a URI.
_URI_AS_PATH = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+:)/(?!/)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What the user told of the cluster, and of what shall run there; None is what was not told.

    Attributes:
        on: its address; see `run_on_ray`.
        weights: see `Engine`, as for the next three.
        variant: the network.
        engine: its name.
        crop: how pictures are brought to the network's proportions.
        batch_size: pictures computed at once.
        replicas: see `Replicas`, as for the next two.
        replica_cpus: cores of each.
        replica_gpus: GPUs of each.
        part_size: pictures in a file.
        quiet: show no progress.
    """

    on: str | None
    weights: str | None
    variant: str | None
    engine: str | None
    crop: str | None
    batch_size: int | None
    replicas: int | None
    replica_cpus: float | None
    replica_gpus: float | None
    part_size: int | None
    quiet: bool

    @property
    def told(self) -> dict[str, Any]:
        """Everything that was told, by the options' names."""
        return {name.replace("_", "-"): value for name, value in asdict(self).items() if value not in (None, False)}

    @property
    def engine_told(self) -> list[str]:
        """The options that were told and are an engine's."""
        return [name for name in self.told if name in {"weights", "variant", "engine", "crop", "batch-size"}]


@dataclass(slots=True)
class _Count:
    """What became of the pictures of this run."""

    planned: Planned = field(default_factory=lambda: Planned(total=0, done=0, failed=0))
    pictures: int = 0
    errors: list[ItemError] = field(default_factory=list)
    failed: int = 0
    ended: Ended = field(default_factory=lambda: Ended(stopped_by="the run did not end"))
    elapsed_s: float = 0.0

    @property
    def all_well(self) -> bool:
        return not (self.failed or self.planned.failed or self.ended.stopped_by)


def extract_on(
    cluster: Cluster,
    session: Session,
    sources: Sequence[str],
    output: Path,
    outputs: tuple[str, ...],
    *,
    table_format: str | None,
    restart: bool,
) -> int:
    """Extract the features of the pictures of `sources` into the folder `output`, on a cluster.

    Returns:
        The exit code.

    Raises:
        click.UsageError: options contradict each other.
        click.ClickException: the extra is missing, or there is no cluster.
    """
    order = Order(
        **_pictures(sources),
        output=_folder(output, table_format),
        outputs=outputs,
        by=_by(cluster, session),
        replicas=Replicas(count=cluster.replicas or 0, cpus=_or(cluster.replica_cpus, 1.0), gpus=cluster.replica_gpus),
        part_size=cluster.part_size or _PART_SIZE,
        restart=restart,
        version=version("nasfeat"),
    )
    count = _Count()
    began_at = time.monotonic()
    try:
        with closing(_events(str(cluster.on), order)) as events:
            _follow(events, count, quiet=cluster.quiet or session.as_json)
    except KeyboardInterrupt:
        _tell_kept(order, count)
        raise
    count.elapsed_s = time.monotonic() - began_at
    _tell(order, count, as_json=session.as_json)
    return int(not count.all_well)


def _events(address: str, order: Order) -> Any:
    try:
        from nasfeat_client.cli.cluster.on_ray import run_on_ray  # noqa: PLC0415 - it needs the extra, and this says so
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"--on needs the ray-data extra: pip install 'nasfeat[ray-data]' ({error})"
        ) from error
    return run_on_ray(address, order)


def _follow(events: Iterator[Event], count: _Count, *, quiet: bool) -> None:
    with shown_progress(None, quiet=quiet) as progress:
        for event in events:
            if isinstance(event, Planned):
                count.planned = event
                progress.reset(event.total, event.done)
            elif isinstance(event, PartDone):
                count.pictures += event.pictures
                count.failed += len(event.errors)
                count.errors += event.errors[: _ERRORS_SHOWN - len(count.errors)]
                for error in event.errors:
                    click.echo(f"{error.name}: {error.message}", err=True)
                progress.advance(event.pictures)
            else:
                count.ended = event


def _pictures(sources: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Say where the cluster finds the pictures; lists on this machine are read here, since nodes may not see them."""
    check_sources([source for source in sources if source == STDIN])
    found: list[str] = []
    names: list[str] = []
    for source in sources:
        if source == STDIN:
            names += _absolute(paths_in(sys.stdin))
        elif source.endswith(LIST_SUFFIXES) and not Location.parse(source).root:
            names += _absolute(listed(Path(source)))
        else:
            found += _absolute([source])
    return {"sources": tuple(found), "names": tuple(names)}


def _absolute(paths: Any) -> Iterator[str]:
    return (str(Location.parse(path)) for path in paths)


def _folder(output: Path, table_format: str | None) -> str:
    if str(output) == STDIN:
        raise click.UsageError("with --on the output is a folder of Parquet files, not stdout")
    if table_format not in (None, TableFormat.PARQUET):
        raise click.UsageError(f"with --on the output is a folder of Parquet files, not {table_format}")
    return str(Location.parse(_URI_AS_PATH.sub(r"\1//", str(output), count=1)))


def _by(cluster: Cluster, session: Session) -> Servers | Engine:
    """Tell what makes the vectors: servers if some are named, or an engine in each actor."""
    context = click.get_current_context()
    named = context.get_parameter_source("target")
    on_line = named is click.core.ParameterSource.COMMANDLINE
    if on_line and cluster.engine_told:
        raise click.UsageError(
            f"--target has servers make the vectors, and --{cluster.engine_told[0]} is of engines on the nodes"
        )
    if named is not click.core.ParameterSource.DEFAULT and not cluster.engine_told:
        return Servers(targets=tuple(session.targets), config=session.config())
    return Engine(
        weights=cluster.weights or "published",
        variant=cluster.variant,
        engine=cluster.engine or "auto",
        crop=cluster.crop or "stretch",
        max_batch_size=cluster.batch_size or _BATCH_SIZE,
    )


def _or(told: float | None, default: float) -> float:
    return default if told is None else told


def _tell_kept(order: Order, count: _Count) -> None:
    if kept := count.planned.done + count.pictures:
        click.echo(f"{kept} images are kept in {_shown(order)}; the same command goes on from there", err=True)


def _tell(order: Order, count: _Count, *, as_json: bool) -> None:
    """Print the outcome on stdout."""
    ended, before = count.ended, count.planned
    if ended.stopped_by:
        click.echo(f"Error: {ended.stopped_by}", err=True)
        _tell_kept(order, count)
    if ended.model and not ended.model.trained:
        source = ended.model.weights_source
        click.echo(f"Warning: the weights are untrained ({source}): the results mean nothing.", err=True)
    rate = count.pictures / count.elapsed_s
    if as_json:
        click.echo(json.dumps(_document(order, count) | {"images_per_s": rate}, indent=2))
        return
    failures = f", {count.failed} failed" if count.failed else ""
    earlier = f", {before.done} done before" + f" ({before.failed} failed)" * (before.failed > 0) if before.done else ""
    written = f"wrote {_shown(order)}" + (f", errors in {ended.errors_at}" if ended.errors_at else "")
    click.echo(
        f"{count.pictures - count.failed} extracted{failures}{earlier} in {count.elapsed_s:.1f} s ({rate:.1f}/s): "
        f"{'not complete' if ended.stopped_by else written}"
    )


def _document(order: Order, count: _Count) -> dict[str, Any]:
    ended = count.ended
    return {
        "output": None if ended.stopped_by else order.output,
        "done_before": count.planned.done,
        "failed_before": count.planned.failed,
        "images": count.pictures,
        "succeeded": count.pictures - count.failed,
        "failed": count.failed,
        "errors": [asdict(error) for error in count.errors],
        "errors_at": ended.errors_at,
        "stopped_by": ended.stopped_by,
        "identity": ended.model and asdict(ended.model),
        "elapsed_s": count.elapsed_s,
    }


def _shown(order: Order) -> str:
    """Name the output without the options of its file system."""
    return Location.parse(order.output).name
