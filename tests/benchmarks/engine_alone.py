"""One way to run the network, alone in its process: our engines as a replica has them, or a runtime as it comes.

Says that it is ready, then for each line `BATCH IMAGES` on standard input the images a second of that round. Engines
are compared to `plain-openvino` and `plain-onnxruntime`: the exported ONNX model, with the runtime's own settings.
"""

import asyncio
import dataclasses
import functools
import importlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from measure import photographs

from nasfeat_server.config import ServerConfig
from nasfeat_server.engine.precision import check_precision
from nasfeat_server.engine.preparing import prepare_model
from nasfeat_server.network.outputs import FEATURE_VECTOR

Run = Callable[[npt.NDArray[np.uint8]], Any]


def main() -> None:
    """Load what the arguments say: the way, the variant, the batch sizes, the precision, a directory for a cache.

    The directory has one of pictures, `pictures`, for other precisions than fp32.
    """
    way, variant, batches, precision, cache = sys.argv[1:]
    sizes = tuple(int(size) for size in batches.split(","))
    if way.startswith("plain-"):
        run = _plain(way.removeprefix("plain-"), variant, sizes, Path(cache))
    else:
        run = _engine(way, variant, sizes, precision, Path(cache))
    images = photographs(max(sizes), _SIZES[variant])
    for size in sizes:
        run(images[:size])
    print("ready", flush=True)
    for line in sys.stdin:
        size, count = (int(word) for word in line.split())
        rounds = max(count // size, 1)
        started_at = time.perf_counter()
        for _ in range(rounds):
            run(images[:size])
        print(rounds * size / (time.perf_counter() - started_at), flush=True)


_SIZES = {"large": 331, "mobile": 224, "cifar": 32}


def _engine(name: str, variant: str, sizes: tuple[int, ...], precision: str, cache: Path) -> Run:
    config = ServerConfig(
        engine=name,
        weights="random:0",
        variant=variant,
        max_batch_size=max(sizes),
        slots=max(sizes),
        precision=precision,
        precision_floor=0,
        calibration=cache / "pictures",
        cache=cache,
    )
    options = asyncio.run(prepare_model(config))
    options = dataclasses.replace(options, cores=tuple(sorted(os.sched_getaffinity(0))))
    engine = importlib.import_module(f"nasfeat_server.engine.engines.{name}").create(options)
    engine.load()
    if check := check_precision(engine, options, 1):
        print(f"cosine {check.mean_cosine:.4f}", flush=True)
    return lambda images: engine.run(images, (FEATURE_VECTOR,))


def _plain(runtime: str, variant: str, sizes: tuple[int, ...], cache: Path) -> Run:
    path = cache / f"{variant}.onnx" / "model.onnx"
    if not path.exists():
        _export(variant, path.parent)
    make = {"openvino": _openvino, "onnxruntime": _onnxruntime}[runtime]
    compiled = make(path, sizes)
    return lambda images: compiled[len(images)](images.astype(np.float32) / np.float32(255))


def _export(variant: str, directory: Path) -> None:
    from nasfeat_server.network.export import write_module
    from nasfeat_server.network.weights import load_weights

    write_module(load_weights("random:0", variant), directory, form="onnx")


def _openvino(path: Path, sizes: tuple[int, ...]) -> dict[int, Callable[[Any], Any]]:
    import openvino

    core, compiled = openvino.Core(), {}
    for size in sizes:
        model = core.read_model(path)
        model.reshape([size, *(dimension.get_length() for dimension in model.input().partial_shape[1:])])
        compiled[size] = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    return {size: functools.partial(_run_openvino, one) for size, one in compiled.items()}


def _run_openvino(compiled: Any, images: Any) -> Any:
    return compiled({"images": images})[FEATURE_VECTOR]


def _onnxruntime(path: Path, sizes: tuple[int, ...]) -> dict[int, Callable[[Any], Any]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return dict.fromkeys(sizes, lambda images: session.run([FEATURE_VECTOR], {"images": images}))


if __name__ == "__main__":
    main()
