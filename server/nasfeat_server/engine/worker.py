"""The main program of a replica's process: one engine, one device, one pipe to the server.

It is started by `nasfeat_server.engine.replica` with one JSON argument, speaks JSON lines over an inherited socket,
and ends when the server's end of the socket closes, however the server died. It alone imports the framework.

Server to replica: {"run": [slot, ...], "outputs": [[name, ...], ...]}, the outputs of each slot.
Replica to server: {"progress": text} while it starts, then one of {"loaded": description, "max_batch_size": n} or
{"refused": message}; and for each batch {"done": seconds} or {"failed": message, "out_of_memory": bool}.
"""

import contextlib
import dataclasses
import functools
import importlib
import itertools
import json
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BufferedRWPair
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from nasfeat_server.engine.arena import Arena, ArenaLayout
from nasfeat_server.engine.interface import Engine, EngineOptions, Outputs, OverlappingEngine, Results
from nasfeat_server.engine.precision import check_precision
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.network.weights.values import located_of


def main() -> None:
    """Run the replica described by the first argument until the server is gone."""
    start: Mapping[str, Any] = json.loads(sys.argv[1])
    fields: dict[str, Any] = start["options"]
    model = located_of(fields.pop("model"))
    options = EngineOptions(model=model, **{key: _frozen(value) for key, value in fields.items()})
    if options.cores:
        # Before the framework is imported, so that its thread pools see the share and not the machine.
        os.sched_setaffinity(0, options.cores)
    # The server may close its end at any moment; whatever this process still had to say, nobody hears.
    with (
        contextlib.suppress(BrokenPipeError, ConnectionResetError),
        socket.socket(fileno=start["socket_fd"]) as server,
        server.makefile("rwb") as pipe,
    ):
        _Replica(pipe, Arena(ArenaLayout(**start["layout"]), start["arena_fd"])).serve(options)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class _Replica:
    def __init__(self, pipe: BufferedRWPair, arena: Arena) -> None:
        self._pipe = pipe
        self._arena = arena
        self._free_at = 0.0

    def serve(self, options: EngineOptions) -> None:
        try:
            engine = self._start(options)
        except ConfigurationError as error:
            self._tell(refused=str(error))
            return
        with ThreadPoolExecutor(1, thread_name_prefix="finish") as finishing:
            for line in self._pipe:
                order = json.loads(line)
                slots, outputs, begun_at = order["run"], order["outputs"], time.monotonic()
                if isinstance(engine, OverlappingEngine):
                    # Finished in another thread, so that the device has its next batch when it is done with one, while
                    # the results of that are still on their way to their slots.
                    begun = self._begin(engine, slots, outputs)
                    finishing.submit(self._finish, slots, outputs, begun_at, begun)
                else:
                    self._finish(slots, outputs, begun_at, functools.partial(self._run, engine, slots, outputs))

    def _start(self, options: EngineOptions) -> Engine:
        model = options.model
        self._tell(progress=f"loading {model.source} into {model.spec.name} with the {options.engine} engine")
        engine: Engine = _engine_module(options.engine).create(options)
        description = engine.load()
        largest = self._warm_up(engine, options)
        if options.precision != "fp32":
            self._tell(progress=f"holding {options.precision} against fp32")
        description = dataclasses.replace(description, precision_check=check_precision(engine, options, largest))
        self._tell(max_batch_size=largest, loaded=dataclasses.asdict(description))
        return engine

    def _warm_up(self, engine: Engine, options: EngineOptions) -> int:
        """Run each batch size that pays once, as far as the device has the memory; returns the largest."""
        largest = 0
        for size in options.batch_buckets:
            if size > engine.max_batch_size:
                break
            self._tell(progress=f"warming batches of {size}")
            try:
                engine.warm_up(size)
            except MemoryError as error:
                if not largest:
                    raise ConfigurationError(f"the device has not the memory for one image: {error}") from error
                self._tell(progress=f"out of memory with a batch of {size}; serving batches of up to {largest}")
                break
            largest = size
        return largest

    def _run(self, engine: Engine, slots: Sequence[int], outputs: Sequence[Sequence[str]]) -> Results:
        return engine.run(self._gathered(slots), _wanted(outputs))

    def _begin(
        self, engine: OverlappingEngine, slots: Sequence[int], outputs: Sequence[Sequence[str]]
    ) -> Callable[[], Results]:
        try:
            return engine.begin(self._gathered(slots), _wanted(outputs))
        except Exception as error:  # noqa: BLE001 - it is this batch's, and is told in its turn
            return functools.partial(_raise, error)

    def _gathered(self, slots: Sequence[int]) -> npt.NDArray[np.uint8]:
        return np.ascontiguousarray(self._arena.images[slots])

    def _finish(
        self,
        slots: Sequence[int],
        outputs: Sequence[Sequence[str]],
        begun_at: float,
        fetch: Callable[[], Results],
    ) -> None:
        try:
            results = fetch()
            for row, (slot, names) in enumerate(zip(slots, outputs, strict=True)):
                self._arena.put_results(slot, (results[name][row] for name in names))
        except Exception as error:  # noqa: BLE001 - an engine may raise anything; the scheduler isolates the image
            traceback.print_exc()
            self._tell(failed=f"{type(error).__name__}: {error}", out_of_memory=isinstance(error, MemoryError))
        else:
            # Not the time that it waited beside the one before.
            self._tell(done=time.monotonic() - max(begun_at, self._free_at))
        self._free_at = time.monotonic()

    def _tell(self, **message: object) -> None:
        self._pipe.write(json.dumps(message).encode() + b"\n")
        self._pipe.flush()


def _wanted(outputs: Sequence[Sequence[str]]) -> Outputs:
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


if __name__ == "__main__":
    main()
