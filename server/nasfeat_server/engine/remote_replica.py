"""What runs on another machine: one engine behind methods that the server calls, whoever carries the calls.

The calls themselves, the transport and the process are Ray's (`nasfeat_server.engine.ray_cluster`), which is not known
here. Frameworks are imported when `load` is called.
"""

import asyncio
import dataclasses
import functools
import importlib
import os
import socket
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.metadata import version
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from nasfeat_server.engine.claims import CoreClaims, pin
from nasfeat_server.engine.cores import usable_cores
from nasfeat_server.engine.hold import Hold
from nasfeat_server.engine.interface import Engine, EngineOptions, Outputs, Results
from nasfeat_server.engine.loading import Loaded, all_wanted, begin, loading, overlaps
from nasfeat_server.engine.shipping import Shipment
from nasfeat_server.errors import ConfigurationError

_T = TypeVar("_T")

Message = Mapping[str, Any]
Answer = tuple[float, npt.NDArray[np.float32] | None, str, bool]
"""The seconds that the device worked and every image's outputs one behind the other, or None, why, and whether it was
for want of memory."""


class Actor(Protocol):
    """A `RemoteReplica` as the server's process calls it; `nasfeat_server.engine.ray_cluster.RayActor` is one."""

    wants: str

    async def hello(self) -> Message:
        """Return, once there is a place, where that is."""
        ...

    async def call(self, method: str, arguments: Callable[[], tuple[Any, ...]]) -> Any:
        """Call a method of `RemoteReplica`; `arguments` is asked in another thread."""
        ...

    def load(self, *arguments: Any) -> AsyncIterator[Message]:
        """Call `RemoteReplica.load`."""
        ...

    def put(self, value: Any) -> Any:
        """Leave `value` where the actor's node fetches it."""
        ...

    async def lost(self) -> str:
        """Return why the actor is gone, when it is."""
        ...

    async def kill(self) -> None:
        """End it."""
        ...


class RemoteReplica:
    """An engine and its device; calls may be under way together, and batches run by their numbers."""

    def __init__(self) -> None:
        """Wait to be told what to load."""
        # The device belongs to one thread; results leave it in the other, while it has its next batch.
        self._device = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._finishing = ThreadPoolExecutor(1, thread_name_prefix="finish")
        self._claims = CoreClaims()
        self._holding = ExitStack()
        self._engine: Engine | None = None
        self._turn = asyncio.Condition()
        self._next = 0
        self._free_at = 0.0

    async def hello(self) -> Message:
        """Say where this is, as soon as it is anywhere."""
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        return {"host": socket.gethostname(), "pid": os.getpid(), "gpus": visible, "nasfeat": version("nasfeat")}

    async def live(self) -> None:
        """Never return: who waits for this hears of the death."""
        await asyncio.Event().wait()

    async def find(self, shipment: Shipment) -> str | None:
        """Find the prepared model on this machine; None if it has to be sent."""
        return await self._in_thread(lambda: _receiving().find(shipment, print))

    async def keep(self, shipment: Shipment, names: Sequence[str], *contents: npt.NDArray[np.uint8]) -> str:
        """Leave the files of a prepared model on this machine, and say where."""
        files = dict(zip(names, contents, strict=True))
        return await self._in_thread(lambda: _receiving().keep(shipment, files, print))

    async def load(self, options: EngineOptions, cores: int, environment: Mapping[str, str]) -> AsyncIterator[Message]:
        """Load and warm the engine.

        Args:
            options: what to load; its cores are chosen here.
            cores: how many CPU cores to claim; 0 leaves the choice to the system.
            environment: variables that frameworks read when they are imported.

        Yields:
            {"progress": text} before each step, then {"loaded": description, "max_batch_size": n} or {"refused": text}.
        """
        steps = self._loading(options, cores, environment)
        while message := await self._in_thread(functools.partial(next, steps, None)):
            yield message

    def _loading(self, options: EngineOptions, cores: int, environment: Mapping[str, str]) -> Iterator[Message]:
        os.environ.update(environment)
        claimed = self._claims.claim(cores) if cores else ()
        pin(claimed)
        if options.artifact:
            self._holding.enter_context(Hold(options.artifact))
        steps = loading(dataclasses.replace(options, cores=claimed, threads=0 if claimed else usable_cores().threads))
        while True:
            try:
                yield {"progress": next(steps)}
            except ConfigurationError as error:
                yield {"refused": str(error)}
                return
            except StopIteration as end:
                loaded: Loaded = end.value
                self._engine = loaded.engine
                yield {"loaded": loaded.description, "max_batch_size": loaded.max_batch_size}
                return

    async def run(self, number: int, images: npt.NDArray[np.uint8], outputs: Sequence[Outputs]) -> Answer:
        """Run batch `number`, counted from 0: images uint8 [N, H, W, 3], and what is wanted of each.

        Calls may arrive in any order and run in that of their numbers.
        """
        loop = asyncio.get_running_loop()
        engine, wanted = self._warm(), all_wanted(outputs)
        async with self._turn:
            await self._turn.wait_for(lambda: self._next == number)
            self._next += 1
            begun_at = time.monotonic()
            if overlaps(engine):
                begun = loop.run_in_executor(self._device, begin, engine, images, wanted)
            else:
                fetch = functools.partial(engine.run, images, wanted)
                done = loop.run_in_executor(self._device, self._finish, fetch, outputs, begun_at)
            self._turn.notify_all()
        if overlaps(engine):
            done = loop.run_in_executor(self._finishing, self._finish, await begun, outputs, begun_at)
        return await done

    def _finish(self, fetch: Callable[[], Results], outputs: Sequence[Outputs], begun_at: float) -> Answer:
        try:
            results = fetch()
            rows = [results[name][row].reshape(-1) for row, names in enumerate(outputs) for name in names]
            joined = np.concatenate(rows, dtype=np.float32)
        except Exception as error:  # noqa: BLE001 - an engine may raise anything; the scheduler isolates the image
            traceback.print_exc()
            answer: Answer = 0.0, None, f"{type(error).__name__}: {error}", isinstance(error, MemoryError)
        else:
            # Not the time that it waited beside the one before.
            answer = time.monotonic() - max(begun_at, self._free_at), joined, "", False
        self._free_at = time.monotonic()
        return answer

    def _warm(self) -> Engine:
        if self._engine is None:
            raise AssertionError("an engine is loaded before it runs")
        return self._engine

    async def _in_thread(self, call: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._device, call)


def _receiving() -> Any:
    # It brings the network along. The server's process, which knows this class by name, never calls this.
    return importlib.import_module("nasfeat_server.engine.receiving")
