"""Measures how long batches take on this machine, for `devices.json`.

Run by `python -m tests.simulation.measure VARIANT [LARGEST]` from the root of the checkout, with nothing else running.
It prints one entry of the file. All sizes are measured in turns, so that a machine whose speed drifts changes them all;
the figure of each is the median of its rounds.
"""

import importlib
import json
import os
import platform
import re
import statistics
import time
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import track

from nasfeat_server.engine.choice import choose_engine
from nasfeat_server.engine.interface import EngineOptions
from nasfeat_server.network.outputs import FEATURE_VECTOR
from nasfeat_server.network.weights.locate import locate
from nasfeat_server.preparer import prepare


def measure(variant: str, sizes: tuple[int, ...], rounds: int) -> dict[int, float]:
    """Give the median seconds of a batch of each of `sizes`, with the fastest engine and random weights."""
    cores = tuple(sorted(os.sched_getaffinity(0)))
    model = locate("random:0", variant)
    choice = choose_engine("auto", devices=("cpu:0",), precision="fp32", run_module_graph=False)
    artifact = prepare(model, engine=choice.engine, precision="fp32", buckets=sizes, cache=None, report=print)
    options = EngineOptions(
        engine=choice.engine,
        model=model,
        run_module_graph=False,
        cores=cores,
        batch_buckets=sizes,
        artifact=str(artifact),
    )
    engine = importlib.import_module(f"nasfeat_server.engine.engines.{choice.engine}").create(options)
    engine.load()
    shape = (model.spec.image_size, model.spec.image_size, 3)
    images = np.random.default_rng(0).integers(0, 256, (max(sizes), *shape), np.uint8)
    for size in sizes:
        engine.warm_up(size)
    seconds: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in track(range(rounds), description=f"NASNet-A {variant}", console=Console(stderr=True)):
        for size in sizes:
            started_at = time.perf_counter()
            engine.run(images[:size], (FEATURE_VECTOR,))
            seconds[size].append(time.perf_counter() - started_at)
    return {size: statistics.median(taken) for size, taken in seconds.items()}


def _processor() -> str:
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores of {found[1] if found else platform.machine()}"


@click.command(context_settings={"show_default": True})
@click.argument("variant")
@click.argument("largest", default=8)
@click.option("--rounds", default=15, help="Batches of each size.")
def main(variant: str, largest: int, rounds: int) -> None:
    """Measure NASNet-A VARIANT in batches of 1, 2, 4 ... LARGEST images."""
    sizes = tuple(1 << power for power in range(largest.bit_length()))
    entry = {
        "name": f"nasnet-a {variant} on a cpu",
        "measured": True,
        "provenance": f"tests.simulation.measure, tensorflow engine, fp32, {_processor()}, median of {rounds} rounds",
        "seconds": {str(size): round(taken, 4) for size, taken in measure(variant, sizes, rounds).items()},
    }
    print(json.dumps(entry, indent=2))


if __name__ == "__main__":
    main()
