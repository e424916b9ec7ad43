"""The tables: plain data first, which becomes a table of a terminal or of Markdown."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from peers.catalogue import LOADS, PEERS, STREAM, UNARY
from peers.readings import Row, Verdict, by_peer

_TITLES = {peer.name: peer.title for peer in PEERS}
_NONE = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table: the first column has names, the others figures."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def for_terminal(self) -> Table:
        """Make it a table of rich's."""
        table = Table(title=self.title, title_justify="left")
        for place, heading in enumerate(self.headings):
            table.add_column(heading, justify="right" if place else "left", no_wrap=True)
        for row in self.rows:
            table.add_row(*row)
        return table

    def for_markdown(self) -> str:
        """Make it Markdown."""
        lines = [self.headings, tuple("---:" if place else "---" for place in range(len(self.headings))), *self.rows]
        return "\n".join([f"**{self.title}**", "", *(f"| {' | '.join(line)} |" for line in lines)])


def _cpu(row: Row) -> str:
    ratio = f" ({row.echo_ratio:.1f})" if row.echo_ratio is not None else ""
    return f"{row.reading.cpu_us:.0f}{ratio}"


def _latency(row: Row) -> str:
    return f"{row.reading.p50_ms:.3g} / {row.reading.p99_ms:.3g}"


_FIGURES: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("processor time of the server's processes, us an image, and times the bare echo's", _cpu),
    ("images a second", lambda row: f"{row.reading.images_per_s:.4g}"),
    ("latency at the client, ms: median / 99th percentile", _latency),
)


def grids_of(rows: Sequence[Row], model: str) -> list[Grid]:
    """Make a table for each figure of `model`: a line for each peer and way, a column for each load and callers."""
    own = [row for row in rows if row.cell.model == model]
    columns = sorted({(row.cell.load, row.cell.clients) for row in own}, key=lambda one: (LOADS.index(one[0]), one[1]))
    lines = [
        (peer.name, way)
        for way in (UNARY, STREAM)
        for peer in PEERS
        if any((row.cell.peer, row.cell.way) == (peer.name, way) for row in own)
    ]
    found = {(row.cell.peer, row.cell.way, row.cell.load, row.cell.clients): row for row in own}
    headings = (model, *(f"{load}, {clients}" for load, clients in columns))
    return [
        Grid(
            title=f"{model}: {title}",
            headings=headings,
            rows=tuple(
                (
                    f"{_TITLES[name]}, {way}",
                    *(
                        figure(found[name, way, *column]) if (name, way, *column) in found else _NONE
                        for column in columns
                    ),
                )
                for name, way in lines
            ),
        )
        for title, figure in _FIGURES
    ]


def starts_grid(rows: Iterable[Row], cold_starts_s: Mapping[tuple[str, str], float]) -> Grid:
    """Make the table of cold starts, by model and peer, and of the most memory that any cell left."""
    memory: dict[tuple[str, str], float] = {}
    for row in rows:
        key = (row.cell.model, row.cell.peer)
        memory[key] = max(memory.get(key, 0), row.reading.memory_mb)
    return Grid(
        title="start to the first answer, and the most memory (proportional set size of all processes)",
        headings=("server", "model", "s", "MB"),
        rows=tuple(
            (_TITLES[name], model, f"{seconds:.1f}", f"{memory[model, name]:.0f}" if (model, name) in memory else _NONE)
            for (model, name), seconds in cold_starts_s.items()
        ),
    )


def verdict_lines(verdicts: Sequence[Verdict]) -> list[str]:
    """Say for each peer in how many cells nasfeat takes less processor time, or as little as is aimed at."""
    lines = []
    for name, group in by_peer(verdicts).items():
        held = sum(verdict.held for verdict in group)
        ratios = sorted(verdict.ratio for verdict in group)
        limits = sorted({verdict.limit for verdict in group})
        allowed = " and ".join(f"{limit:g}" for limit in limits)
        lines.append(
            f"{_TITLES[name]}: nasfeat takes {ratios[0]:.2f} to {ratios[-1]:.2f} times its processor time; "
            f"{held} of {len(group)} cells within {allowed}"
        )
    return lines
