"""Ray, and Ray Data: the only module that knows them.

What runs the stages is an actor of the cluster, so that nothing depends on where the command runs: it may be outside,
where Ray Data cannot be used and pictures had better not pass.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import click
import ray
import ray.data
import ray.exceptions

from nasfeat_client.cli.cluster.conducting import Ended, Event, conduct
from nasfeat_client.cli.cluster.extracting import Extracting
from nasfeat_client.cli.cluster.failures import said, told
from nasfeat_client.cli.cluster.locations import Location
from nasfeat_client.cli.cluster.order import Engine, Order, Replicas
from nasfeat_client.cli.cluster.plan import Item
from nasfeat_client.cli.cluster.reading import block_of, read
from nasfeat_client.cli.cluster.writing import RECORD, write
from nasfeat_client.types import ModelIdentity

_HERE = "ray"
# A picture that kills an engine would otherwise kill it for ever.
_MOST_RETRIES = 3
# Reading and writing wait for stores, most of the time.
_WAITING_CPUS = 0.25


def run_on_ray(address: str, order: Order) -> Iterator[Event]:
    """Carry out `order` on a cluster; the last event is `Ended`.

    Args:
        address: "ray://HOST:PORT", or "ray": the cluster that RAY_ADDRESS names, else the one that this machine belongs
            to, else one of this machine alone, for this run.
        order: the run.

    Raises:
        click.ClickException: there is no cluster at the address.
    """
    with _connected(address):
        conductor = ray.remote(num_cpus=0, max_restarts=0)(_Conductor).remote(order)
        try:
            while True:
                event: Event = ray.get(conductor.next_event.remote())
                yield event
                if isinstance(event, Ended):
                    return
        except ray.exceptions.RayError as error:
            yield Ended(stopped_by=f"what conducted the run on the cluster was lost: {said(error)}")
        finally:
            ray.kill(conductor)


@contextmanager
def _connected(address: str) -> Iterator[None]:
    try:
        ray.init(
            None if address == _HERE else address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=None if address != _HERE else False,
        )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise click.ClickException(f"cannot reach a Ray cluster at {address}: {error}") from error
    # Ray tells of lost workers there, and of the last ones when it ends; it is for the run's outcome alone.
    with redirect_stdout(sys.stderr):
        try:
            yield
        finally:
            ray.shutdown()


class _Conductor:
    """Runs the stages, and alone lets parts count."""

    def __init__(self, order: Order) -> None:
        self._events = conduct(order, _stages, _reason)

    def next_event(self) -> Event:
        return next(self._events)


def _stages(order: Order, parts: list[list[Item]], before: ModelIdentity | None) -> Iterator[bytes]:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # Wrapped, it would lose what it was caused by on its way here.
    context.raise_original_map_exception = True
    # A block is a part.
    context.target_max_block_size = None
    replicas, gpus = _placed(order, len(parts))
    by_block: dict[str, Any] = {"batch_format": "pyarrow", "batch_size": None}
    records = (
        ray.data.from_arrow([block_of(part) for part in parts])
        .map_batches(_read, num_cpus=_WAITING_CPUS, **by_block)
        .map_batches(
            _Extracting,
            fn_constructor_args=(order, before),
            fn_constructor_kwargs={"gpu": gpus > 0},
            compute=ray.data.ActorPoolStrategy(size=replicas),
            num_cpus=order.replicas.cpus,
            num_gpus=gpus,
            max_task_retries=_MOST_RETRIES,
            **by_block,
        )
        .map_batches(_write, fn_args=(Location.parse(order.output),), num_cpus=_WAITING_CPUS, **by_block)
    )
    for batch in records.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        yield from batch[RECORD].to_pylist()


def _placed(order: Order, parts: int) -> tuple[int, float]:
    """Give how many actors there shall be, and how many GPUs each has."""
    wanted: Replicas = order.replicas
    there = float(ray.cluster_resources().get("GPU", 0))
    gpus = wanted.gpus
    if gpus is None:
        gpus = 1.0 if there and isinstance(order.by, Engine) else 0.0
    nodes = sum(1 for node in ray.nodes() if node["Alive"])
    count = wanted.count or (max(1, int(there / gpus)) if gpus else nodes)
    return min(count, parts), gpus


class _Extracting(Extracting):
    """The second stage, whose failures are told in words."""

    def __call__(self, block: Any) -> Any:
        with told():
            return super().__call__(block)


def _read(block: Any) -> Any:
    with told():
        return read(block)


def _write(block: Any, folder: Location) -> Any:
    with told():
        return write(block, folder)


def _reason(error: Exception) -> str:
    """Give what the code that failed said, and not how Ray passed it on."""
    cause: BaseException = error
    while (deeper := getattr(cause, "cause", None) or cause.__cause__) and deeper is not cause:
        cause = deeper
    if isinstance(cause, ray.exceptions.ActorDiedError | ray.exceptions.ActorUnavailableError):
        return (
            f"an actor died {_MOST_RETRIES + 1} times over one part: a picture in it may kill the engine, or memory is "
            f"short; Ray says: {str(cause).splitlines()[0]}"
        )
    return said(cause)
