"""One run from its beginning to its end, as a sequence of events; what runs the stages is given."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeAlias

import click

from nasfeat_client.cli.cluster.ledger import Ledger, Record, open_ledger
from nasfeat_client.cli.cluster.locations import Location
from nasfeat_client.cli.cluster.order import Order
from nasfeat_client.cli.cluster.plan import Item, items_of, parts_of
from nasfeat_client.cli.tables.errors import ItemError
from nasfeat_client.errors import NasfeatError
from nasfeat_client.types import ModelIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The pictures are known.

    Attributes:
        total: all of them, those of runs before among them.
        done: those that runs before have accounted for.
        failed: those of them that failed.
    """

    total: int
    done: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartDone:
    """A part counts.

    Attributes:
        pictures: in it.
        errors: of those that failed.
    """

    pictures: int
    errors: tuple[ItemError, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The run is over.

    Attributes:
        stopped_by: why it ended early; None if all pictures are accounted for.
        errors_at: where the errors are, if there are some.
        model: what made the vectors; None without any.
    """

    stopped_by: str | None
    errors_at: str | None = None
    model: ModelIdentity | None = None


Event: TypeAlias = Planned | PartDone | Ended
Stages: TypeAlias = Callable[[Order, list[list[Item]], ModelIdentity | None], Iterator[bytes]]
"""Reads, extracts and writes parts, and gives the record of each once it is written; told the rows' model so far."""


def conduct(order: Order, stages: Stages, reason: Callable[[Exception], str]) -> Iterator[Event]:
    """Do what is left of a run; the last event is `Ended`.

    Args:
        order: the run.
        stages: does the work.
        reason: says why the stages failed.
    """
    ledger: Ledger | None = None
    try:
        ledger = open_ledger(
            Location.parse(order.output), settings={"outputs": list(order.outputs)}, restart=order.restart
        )
        parts = _parts(order, ledger)
        new = sum(map(len, parts))
        yield Planned(total=len(ledger.done) + new, done=len(ledger.done), failed=len(ledger.errors))
        yield from _carried_out(order, ledger, parts, stages)
        yield Ended(stopped_by=None, errors_at=ledger.finish(), model=ledger.model)
    except (click.ClickException, NasfeatError) as error:
        yield Ended(stopped_by=str(error), model=ledger.model if ledger else None)
    except Exception as error:  # noqa: BLE001 - it happened anywhere on the cluster; what counts is kept, and the user is told
        yield Ended(stopped_by=reason(error), model=ledger.model if ledger else None)


def _parts(order: Order, ledger: Ledger) -> list[list[Item]]:
    named = (Item(Location.parse(name)) for name in order.names)
    items = [*items_of(order.sources), *named]
    if not items:
        raise click.ClickException("there are no pictures")
    return list(parts_of(items, ledger.done, order.part_size))


def _carried_out(order: Order, ledger: Ledger, parts: list[list[Item]], stages: Stages) -> Iterator[Event]:
    if not parts:
        return
    records: Any = stages(order, parts, ledger.model)
    with closing(records):
        for content in records:
            record = Record.read(content)
            ledger.commit(record)
            yield PartDone(pictures=len(record.names), errors=tuple(record.errors))
