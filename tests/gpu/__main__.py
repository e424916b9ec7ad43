"""What a GPU gives: our engines beside timm's network under torch.compile, and beside the card's own ceilings.

Run on a machine with a GPU, from the root of the checkout:

    pip install -e '.[jax]' 'jax[cuda12]' 'tensorflow[and-cuda]' torch timm
    python -m tests.gpu

Every way is measured in turns within one run. `--device cpu` runs the same code without a GPU, to see that it runs.
"""

import contextlib
import statistics
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from tests.gpu.ways import TIMM, Way, WayProcess, ceilings

_OPERATIONS = 2 * 23.8e9  # of one image: Zoph et al., 2018, table 2
_TOGETHER = 4  # batches of a round


@click.command(context_settings={"show_default": True})
@click.option("--device", type=click.Choice(["cuda", "cpu"]), default="cuda", help="Where to run.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="bf16", help="The arithmetic.")
@click.option("--batch", "batches", multiple=True, type=int, default=(1, 8, 32, 64), help="Batch sizes.")
@click.option("--rounds", default=10, help=f"Rounds of {_TOGETHER} batches, of each size and way.")
@click.option("--engine", "engines", multiple=True, default=("jax", "tensorflow"), help="Engines of ours.")
def main(device: str, precision: str, batches: tuple[int, ...], rounds: int, engines: tuple[str, ...]) -> None:
    """Measure, and print a table."""
    names = (*engines, TIMM)
    console = Console()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        ways = {}
        for name in names:
            way = Way(name=name, device=device, precision=precision, largest=max(batches), folder=Path(folder))
            ways[name] = stack.enter_context(WayProcess(way))
        rates: dict[str, list[float]] = {name: [] for name in names}
        for batch in batches:
            for name, rate in _rates(ways, batch, rounds, console).items():
                rates[name].append(rate)
    console.print(_table(rates, batches, device, precision))


def _rates(ways: dict[str, WayProcess], batch: int, rounds: int, console: Console) -> dict[str, float]:
    """Measure images a second."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for name, way in ways.items():
        first_s = way.seconds(batch, 1)
        console.print(f"batch {batch}: {name} compiled and ran once in {first_s:.1f} s")
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name].append(way.seconds(batch, _TOGETHER))
    return {name: batch / statistics.median(seconds) for name, seconds in taken.items()}


def _table(rates: dict[str, list[float]], batches: tuple[int, ...], device: str, precision: str) -> Table:
    limit = ceilings(device, precision)
    copies = f"copies to it {limit.copies / 1e9:.1f} GB/s"
    table = Table(
        title=f"NASNet-A Large in {precision} on {limit.name}: matmul {limit.multiplies / 1e12:.2f} TFLOP/s, {copies}"
    )
    for heading in ("way", *(f"batch {batch}" for batch in batches)):
        table.add_column(heading, no_wrap=True)
    for name, values in rates.items():
        cells = (f"{rate:.1f}/s {rate * _OPERATIONS / limit.multiplies:.0%}" for rate in values)
        table.add_row(name if name == TIMM else f"nasfeat, {name}", *cells)
    return table


if __name__ == "__main__":
    main()
