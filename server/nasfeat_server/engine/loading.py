"""An engine from its import until it is warm, and a batch given to it: the same in every process that has one."""

import dataclasses
import functools
import importlib
import itertools
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeGuard

import numpy as np
import numpy.typing as npt

from nasfeat_server.engine.interface import (
    Engine,
    EngineOptions,
    ModelDescription,
    Outputs,
    OverlappingEngine,
    Results,
)
from nasfeat_server.engine.precision import check_precision
from nasfeat_server.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A warm engine, what it has loaded, and the largest batch that the device has the memory for."""

    engine: Engine
    description: ModelDescription
    max_batch_size: int


def loading(options: EngineOptions) -> Generator[str, None, Loaded]:
    """Load an engine and run each batch size once; yields, before each step, what is done next.

    Raises:
        ConfigurationError: the engine cannot be imported, the weights not be loaded, or the device has no room.
    """
    model = options.model
    yield f"loading {model.source} into {model.spec.name} with the {options.engine} engine"
    engine: Engine = _engine_module(options.engine).create(options)
    description = engine.load()
    largest = yield from _warming(engine, options)
    if options.precision != "fp32":
        yield f"holding {options.precision} against fp32"
    description = dataclasses.replace(description, precision_check=check_precision(engine, options, largest))
    return Loaded(engine=engine, description=description, max_batch_size=largest)


def _warming(engine: Engine, options: EngineOptions) -> Generator[str, None, int]:
    """Run each batch size that pays once, as far as the device has the memory; returns the largest."""
    largest = 0
    for size in options.batch_buckets:
        if size > engine.max_batch_size:
            break
        yield f"warming batches of {size}"
        try:
            engine.warm_up(size)
        except MemoryError as error:
            if not largest:
                raise ConfigurationError(f"the device has not the memory for one image: {error}") from error
            yield f"out of memory with a batch of {size}; serving batches of up to {largest}"
            break
        largest = size
    return largest


def overlaps(engine: Engine) -> TypeGuard[OverlappingEngine]:
    """Tell whether the engine can be given a batch while its device works on the one before."""
    # Not `isinstance`: to ask a protocol takes 50 us, as much as all that a replica does for a batch but compute.
    return hasattr(engine, "begin")


def begin(engine: OverlappingEngine, images: npt.NDArray[np.uint8], wanted: Outputs) -> Callable[[], Results]:
    """Give the device a batch; what it raises is raised by what is returned, when it is this batch's turn."""
    try:
        return engine.begin(images, wanted)
    except Exception as error:  # noqa: BLE001 - it is this batch's, and is told in its turn
        return functools.partial(_raise, error)


def all_wanted(outputs: Sequence[Sequence[str]]) -> Outputs:
    """Name once what any image of a batch wants."""
    return tuple(dict.fromkeys(itertools.chain.from_iterable(outputs)))


def _raise(error: Exception) -> NoReturn:
    raise error


def _engine_module(name: str) -> Any:
    try:
        return importlib.import_module(f"nasfeat_server.engine.engines.{name}")
    except ImportError as error:
        raise ConfigurationError(
            f"the {name} engine cannot be loaded ({error}); pip install 'nasfeat[server]' brings what it needs"
        ) from error
