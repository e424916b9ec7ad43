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
import json
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BufferedRWPair
from typing import Any

import numpy as np
import numpy.typing as npt

from nasfeat_server.engine.arena import Arena, ArenaLayout
from nasfeat_server.engine.interface import Engine, EngineOptions, Results
from nasfeat_server.engine.loading import Loaded, all_wanted, begin, loading, overlaps
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
                if overlaps(engine):
                    # Finished in another thread, so that the device has its next batch when it is done with one, while
                    # the results of that are still on their way to their slots.
                    begun = begin(engine, self._gathered(slots), all_wanted(outputs))
                    finishing.submit(self._finish, slots, outputs, begun_at, begun)
                else:
                    self._finish(slots, outputs, begun_at, functools.partial(self._run, engine, slots, outputs))

    def _start(self, options: EngineOptions) -> Engine:
        steps = loading(options)
        while True:
            try:
                self._tell(progress=next(steps))
            except StopIteration as end:
                loaded: Loaded = end.value
                break
        self._tell(max_batch_size=loaded.max_batch_size, loaded=dataclasses.asdict(loaded.description))
        return loaded.engine

    def _run(self, engine: Engine, slots: Sequence[int], outputs: Sequence[Sequence[str]]) -> Results:
        return engine.run(self._gathered(slots), all_wanted(outputs))

    def _gathered(self, slots: Sequence[int]) -> npt.NDArray[np.uint8]:
        first, after = slots[0], slots[0] + len(slots)
        if slots == [*range(first, after)]:
            # One image, or several that lie in a row, are read where they are: nobody writes there before the answer.
            return self._arena.images[first:after]
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


if __name__ == "__main__":
    main()
