"""What is measured in a cell of the table, and what the rounds make of it: medians, ratios, verdicts."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from peers.catalogue import PEERS, REFERENCE, STREAM


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Cell:
    """Who was asked for what, and how: a peer, a model, a load, a way, so many callers at once."""

    model: str
    load: str
    clients: int
    way: str
    peer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One round of a cell.

    Attributes:
        images: answered while it was measured.
        images_per_s: the same, a second.
        p50_ms: the median latency as the client saw it.
        p99_ms: the 99th percentile of the same.
        cpu_us: processor time of all the server's processes for each image, user and system.
        memory_mb: their memory after it, pages that several share counted once.
    """

    images: int
    images_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    memory_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A cell's medians over the rounds.

    Attributes:
        rounds: how many there were.
        echo_ratio: the median of the rounds' ratios of processor time to that of the bare echo in the same round with
            the same load and clients; None where the echo was not measured.
    """

    cell: Cell
    rounds: int
    reading: Reading
    echo_ratio: float | None


Readings = Mapping[Cell, Sequence[Reading]]


def median_of(readings: Sequence[Reading]) -> Reading:
    """Take the median of each figure by itself."""
    return Reading(
        images=round(statistics.median(one.images for one in readings)),
        images_per_s=statistics.median(one.images_per_s for one in readings),
        p50_ms=statistics.median(one.p50_ms for one in readings),
        p99_ms=statistics.median(one.p99_ms for one in readings),
        cpu_us=statistics.median(one.cpu_us for one in readings),
        memory_mb=statistics.median(one.memory_mb for one in readings),
    )


def rows_of(measured: Readings) -> list[Row]:
    """Make a row of each cell, in the order of model, load, clients, way, and peers as they are listed."""
    places = {peer.name: place for place, peer in enumerate(PEERS)}
    order = sorted(measured, key=lambda cell: (cell.model, cell.load, cell.clients, cell.way, places[cell.peer]))
    return [
        Row(
            cell=cell,
            rounds=len(measured[cell]),
            reading=median_of(measured[cell]),
            echo_ratio=_ratio(measured[cell], measured.get(_echo_of(cell), ())),
        )
        for cell in order
    ]


def _echo_of(cell: Cell) -> Cell:
    return Cell(model=cell.model, load=cell.load, clients=cell.clients, way=STREAM, peer=REFERENCE)


def _ratio(ones: Sequence[Reading], others: Sequence[Reading]) -> float | None:
    """Pair the rounds up; a peer that failed in one has fewer, and is compared by medians."""
    if not others:
        return None
    if len(ones) == len(others):
        return statistics.median(one.cpu_us / other.cpu_us for one, other in zip(ones, others, strict=True))
    return median_of(ones).cpu_us / median_of(others).cpu_us


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether nasfeat takes less processor time for an image than a peer, or as much more as is allowed.

    Attributes:
        cell: the peer's.
        ratio: nasfeat's time to the peer's.
        limit: the ratio that is aimed at.
    """

    cell: Cell
    ratio: float
    limit: float

    @property
    def held(self) -> bool:
        """Tell whether the aim was reached."""
        return self.ratio <= self.limit


NATIVE_RAW_LIMIT = 1.5


def verdicts_of(rows: Iterable[Row], model: str) -> list[Verdict]:
    """Hold nasfeat against each peer in every cell of `model` that both have.

    The aim is to be below all; beside a native server 1.5 times is allowed on raw pixels.
    """
    by_cell = {row.cell: row for row in rows if row.cell.model == model}
    native = {peer.name for peer in PEERS if peer.native}
    apart = {REFERENCE, *(peer.name for peer in PEERS if peer.is_ours)}
    verdicts = []
    for cell, row in by_cell.items():
        ours = by_cell.get(Cell(model=model, load=cell.load, clients=cell.clients, way=cell.way, peer="nasfeat"))
        if not ours or cell.peer in apart:
            continue
        limit = NATIVE_RAW_LIMIT if cell.peer in native and cell.load == "raw" else 1.0
        verdicts.append(Verdict(cell=cell, ratio=ours.reading.cpu_us / row.reading.cpu_us, limit=limit))
    return verdicts


def by_peer(verdicts: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    """Group verdicts by the peer, as they come."""
    groups: defaultdict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        groups[verdict.cell.peer].append(verdict)
    return dict(groups)
