"""What a GPU gives: our engines beside timm's network under torch.compile, and beside the card's own ceilings.

Run on a machine with a GPU, from the root of the checkout:

    pip install -e '.[jax]' 'jax[cuda12]' 'tensorflow[and-cuda]' torch timm
    python -m tests.gpu

Every way is measured in turns within one run. `--device cpu` runs the same code without a GPU, to see that it runs.
"""

import asyncio
import dataclasses
import importlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table

from nasfeat_server.config import ServerConfig
from nasfeat_server.engine.preparing import prepare_model
from nasfeat_server.network.outputs import FEATURE_VECTOR

Run = Callable[[npt.NDArray[np.uint8]], Any]

_OPERATIONS = 2 * 23.8e9  # of one image: Zoph et al., 2018, table 2
_SIZE = 331
_SQUARE = 8192
_COPIED = 2**28


@click.command(context_settings={"show_default": True})
@click.option("--device", type=click.Choice(["cuda", "cpu"]), default="cuda", help="Where to run.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="bf16", help="The arithmetic.")
@click.option("--batch", "batches", multiple=True, type=int, default=(1, 8, 32, 64), help="Batch sizes.")
@click.option("--rounds", default=20, help="Batches of each size and way.")
@click.option("--engine", "engines", multiple=True, default=("jax", "tensorflow"), help="Engines of ours.")
def main(device: str, precision: str, batches: tuple[int, ...], rounds: int, engines: tuple[str, ...]) -> None:
    """Measure, and print a table."""
    if device == "cpu":
        os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    with tempfile.TemporaryDirectory() as folder:
        ways: dict[str, Run] = {
            f"nasfeat, {engine}": _ours(engine, precision, max(batches), Path(folder)) for engine in engines
        }
        ways["timm nasnetalarge, torch.compile"] = _timm(device, precision)
        measured = _measure(ways, batches, rounds)
    _print(measured, batches, device, precision)


def _ours(engine: str, precision: str, largest: int, folder: Path) -> Run:
    config = ServerConfig(engine=engine, weights="random:0", max_batch_size=largest, slots=largest, cache=folder)
    options = asyncio.run(prepare_model(config))
    # Speed alone: the evidence for a precision needs pictures, and is the server's business.
    options = dataclasses.replace(options, precision=precision)
    made = importlib.import_module(f"nasfeat_server.engine.engines.{engine}").create(options)
    made.load()
    return lambda images: made.run(images, (FEATURE_VECTOR,))


def _timm(device: str, precision: str) -> Run:
    import timm

    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    model = timm.create_model("nasnetalarge", pretrained=False, num_classes=0).eval()
    compiled = torch.compile(model.to(device, kind, memory_format=torch.channels_last))

    def run(images: npt.NDArray[np.uint8]) -> Any:
        with torch.inference_mode():
            batch = torch.from_numpy(images).to(device, non_blocking=True).permute(0, 3, 1, 2)
            # The float features come back to the host, as they do from our engines.
            return compiled(batch.to(kind) / 127.5 - 1).float().cpu()

    return run


def _measure(ways: dict[str, Run], batches: tuple[int, ...], rounds: int) -> dict[str, list[float]]:
    images = np.random.default_rng(0).integers(0, 256, (max(batches), _SIZE, _SIZE, 3), np.uint8)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for batch in batches:
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds + 1):
            for name, run in ways.items():
                started_at = time.perf_counter()
                run(images[:batch])
                if number:  # the first compiles
                    taken[name].append(time.perf_counter() - started_at)
        for name, seconds in taken.items():
            rates[name].append(batch / statistics.median(seconds))
    return rates


def _print(measured: dict[str, list[float]], batches: tuple[int, ...], device: str, precision: str) -> None:
    peak = _matmul_rate(device, precision)
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    copies = f", copies to it {_copy_rate() / 1e9:.1f} GB/s" if device == "cuda" else ""
    table = Table(title=f"NASNet-A Large in {precision} on {name}: matmul {peak / 1e12:.1f} TFLOP/s{copies}")
    for heading in ("way", *(f"batch {batch}" for batch in batches)):
        table.add_column(heading, no_wrap=True)
    for way, rates in measured.items():
        table.add_row(way, *(f"{rate:.1f}/s {rate * _OPERATIONS / peak:.0%}" for rate in rates))
    Console().print(table)


def _matmul_rate(device: str, precision: str) -> float:
    """Measure what the device multiplies, operations a second."""
    size = _SQUARE if device == "cuda" else _SQUARE // 8
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    square = torch.rand(size, size, device=device, dtype=kind)
    return 2 * size**3 / _best(lambda: square @ square)


def _copy_rate() -> float:
    """Measure copies from pinned memory, bytes a second."""
    host = torch.empty(_COPIED, dtype=torch.uint8, pin_memory=True)
    return _COPIED / _best(lambda: host.to("cuda", non_blocking=True))


def _best(work: Callable[[], Any]) -> float:
    taken = []
    for _ in range(10):
        started_at = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started_at)
    return min(taken)


if __name__ == "__main__":
    main()
