"""`make fuzz`: inputs that nobody would make on purpose, to all that reads what others wrote."""

import asyncio
import importlib.util
import sys
from pathlib import Path

import click
from rich.console import Console
from tests.fuzz import corpus, libfuzzer
from tests.fuzz.catalog import TARGETS
from tests.fuzz.port.conductor import NAME as PORT
from tests.fuzz.port.conductor import Options, fuzz_port
from tests.fuzz.report import table, write_json
from tests.fuzz.result import Result


@click.command(context_settings={"show_default": True})
@click.option("--seconds", default=60, type=click.IntRange(min=1), help="For each target.")
@click.option("--target", "names", multiple=True, type=click.Choice((*TARGETS, PORT)), help="Several may be; else all.")
@click.option("--seed", default=1, type=click.IntRange(min=1), help="Of the mutations.")
@click.option("--merge", is_flag=True, help="Then keep in tests/fuzz/corpus what reaches more than the rest.")
@click.option("--output", "folder", default=Path("build/fuzz"), type=click.Path(path_type=Path), help="Where it goes.")
def main(*, seconds: int, names: tuple[str, ...], seed: int, merge: bool, folder: Path) -> None:
    """Fuzz; writes figures.json, logs and the inputs that broke something, and exits with 1 if any did.

    A target ends with the first input that breaks it; what was found is kept in the folder and goes on next time.
    """
    # A log has no width of its own, and half of one would be cut off every line.
    console = Console(width=None if sys.stdout.isatty() else 120)
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    chosen = names or (*TARGETS, PORT)
    if chosen != (PORT,) and not importlib.util.find_spec("atheris"):
        raise click.ClickException("atheris is missing, which has no wheels for this machine: only --target port works")
    results = []
    for name in chosen:
        print(f"{name}: {seconds} s", flush=True)
        budget = libfuzzer.Budget(seconds=seconds, seed=seed, folder=folder)
        results.append(_fuzz(name, budget))
        if merge and name in TARGETS and corpus.merge(TARGETS[name], folder, _say):
            raise click.ClickException(f"merging failed: see {folder / name / 'merge.txt'}")
    write_json(folder / "figures.json", results)
    console.print(table(results))
    for one in results:
        for what in (*one.crashes, *one.hangs):
            console.print(f"BROKEN: {one.target}: {what}", style="red", markup=False, soft_wrap=True)
    failed = any(one.failed for one in results)
    console.print(f"{'Failed' if failed else 'All holds'}; the figures are in {folder / 'figures.json'}")
    sys.exit(1 if failed else 0)


def _fuzz(name: str, budget: libfuzzer.Budget) -> Result:
    if name != PORT:
        kept = corpus.FOLDER / name
        return libfuzzer.fuzz(TARGETS[name], budget, (kept,) if kept.exists() else (), _say)
    return asyncio.run(fuzz_port(Options(seconds=budget.seconds, seed=budget.seed, folder=budget.folder / PORT), _say))


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
