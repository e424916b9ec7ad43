"""A replica as the server's process sees it whose engine runs on a node of a Ray cluster, one life long.

Nothing is shared with it: a batch's images are gathered from the arena into one array, and its results come back as one
and are laid into their slots here. So nobody writes into a slot but this process, and a batch can be given up at once.
"""

import asyncio
import dataclasses
import functools
import itertools
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from nasfeat_server.engine.arena import Arena
from nasfeat_server.engine.interface import EngineOptions, ModelDescription, Outputs
from nasfeat_server.engine.remote_replica import Actor, Answer, Message
from nasfeat_server.engine.shipping import Shipment
from nasfeat_server.errors import ConfigurationError, DeviceMemoryError, ExecutionFailedError, ReplicaLostError

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

# For Ray to say why an actor is gone, once it has said that it is.
_INQUEST_S = 10.0
_PLACE_REPORT_S = 30.0
# What is smaller travels in the call itself.
_INLINE_BYTES = 100 * 1024
_ENVIRONMENT: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "cpu": {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "2"},
        # Which GPU is Ray's to say. JAX would take three quarters of its memory, and be told of none that is missing.
        "gpu": {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_CPP_MIN_LOG_LEVEL": "2"},
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """After how many seconds an actor is taken for hung, and killed.

    Attributes:
        hang_s: without an answer to a batch.
        start_s: without a sign of progress while it starts.
        place_s: without a place; None for never.
    """

    hang_s: float
    start_s: float
    place_s: float | None = None


class RayReplica:
    """An `Executor` whose engine runs in a Ray actor. `start` it first; it is not restarted.

    Args:
        device: its name; says nothing of the node.
        kind: "gpu" or "cpu".
        cores: the CPU cores that it claims on its node; 0 leaves the choice to the system.
        options: what to load.
        arena: where images are read and feature vectors are left.
        hire: asks for an actor.
        patience: how long its answers may take.
    """

    def __init__(
        self,
        *,
        device: str,
        kind: str,
        cores: int,
        options: EngineOptions,
        arena: Arena,
        hire: Callable[[], Actor],
        patience: Patience,
    ) -> None:
        self._device = device
        self._kind = kind
        self._cores = cores
        self._options = options
        self._arena = arena
        self._hire = hire
        self._patience = patience
        self._max_batch_size = options.batch_buckets[-1]
        self._lengths: Mapping[str, int] = {}
        self._numbers = itertools.count()
        self._sent = 0
        self._running: set[int] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._culprit: int | None = None
        self._actor: Actor | None = None
        self._inquest: asyncio.Task[None] | None = None
        self._lost: asyncio.Future[str] | None = None
        self._where = "nowhere"

    def __repr__(self) -> str:
        """Show the device, and where it is."""
        return f"<RayReplica {self.device} on {self._where}>"

    @property
    def device(self) -> str:
        """The device's name, e.g. "ray:0"."""
        return self._device

    @property
    def max_batch_size(self) -> int:
        """The largest batch size prepared: less than was asked for if the device has not the memory."""
        return self._max_batch_size

    @property
    def pid(self) -> None:
        """None: the process is on another machine, or might be."""
        return

    @property
    def last_words(self) -> str:
        """Say where what it wrote is kept."""
        return f"see Ray's logs of the process on {self._where}"

    async def start(self) -> None:
        """Ask for an actor, and return when it has a place.

        Raises:
            ConfigurationError: the node has no nasfeat, or another one.
            ReplicaLostError: it died on the way.
        """
        actor = self._actor = self._hire()
        self._lost = asyncio.get_running_loop().create_future()
        self._inquest = asyncio.create_task(self._find_cause(actor, self._lost))
        said = await self._answer(self._place(actor), self._patience.place_s)
        gpus = f" gpu {said['gpus']}" if self._kind == "gpu" else ""
        self._where = f"{said['host']} ({said['node'][:8]}{gpus} pid {said['pid']})"
        if said["nasfeat"] != version("nasfeat"):
            raise ConfigurationError(f"{self._where} has nasfeat {said['nasfeat']}, this server {version('nasfeat')}")

    async def _place(self, actor: Actor) -> Message:
        asking = asyncio.ensure_future(actor.hello())
        try:
            while not (await asyncio.wait({asking}, timeout=_PLACE_REPORT_S))[0]:
                _log.info("replica %s waits for a place in the Ray cluster: it asks for %s", self.device, actor.wants)
            return await asking
        finally:
            asking.cancel()

    async def relay_log(self) -> None:
        """Return: Ray keeps the logs of its processes, on their nodes."""

    async def warm_up(self) -> ModelDescription:
        """Return when every batch size has run once.

        Raises:
            ConfigurationError: the replica cannot serve what it was told to.
            ReplicaLostError: the actor died on the way.
        """
        actor, options = self._hired(), self._options
        if options.artifact:
            options = dataclasses.replace(options, artifact=await self._shipped(actor, options.artifact))
        messages = aiter(actor.load(options, self._cores, _ENVIRONMENT[self._kind]))
        while True:
            message = await self._answer(_next(messages), self._patience.start_s)
            if "progress" in message:
                _log.info("replica %s on %s: %s", self.device, self._where, message["progress"])
            elif "refused" in message:
                raise ConfigurationError(message["refused"])
            else:
                self._max_batch_size = message["max_batch_size"]
                description: ModelDescription = message["loaded"]
                shapes = description.output_shapes.items()
                self._lengths = {name: math.prod(shape) for name, shape in shapes}
                return description

    async def _shipped(self, actor: Actor, artifact: str) -> str:
        """Give the directory of the prepared model on the actor's node, to which it is sent if it is not there."""
        shipment = Shipment.of(artifact)
        limit_s = self._patience.start_s
        found: str | None = await self._answer(actor.call("find", lambda: (shipment,)), limit_s)
        if found:
            return found

        def packed() -> tuple[Any, ...]:
            contents = shipment.contents()
            return shipment, tuple(contents), *(actor.put(np.asarray(data)) for data in contents.values())

        _log.info("replica %s on %s: the prepared model is not there and is sent", self.device, self._where)
        kept: str = await self._answer(actor.call("keep", packed), limit_s)
        return kept

    async def run(self, slots: Sequence[int], outputs: Sequence[Outputs]) -> float:
        """Run one batch; see `Executor.run`."""
        actor, number = self._hired(), next(self._numbers)
        self._running.add(number)
        self._idle.clear()
        try:
            packed = functools.partial(self._packed, actor, slots, outputs)
            answer: Answer = await self._answer(actor.call("run", packed), self._patience.hang_s, number)
        finally:
            self._running.discard(number)
            if not self._running:
                self._idle.set()
        busy_s, results, complaint, out_of_memory = answer
        if results is None:
            _log.warning("replica %s failed on a batch of %d: %s", self.device, len(slots), complaint)
            raise (DeviceMemoryError if out_of_memory else ExecutionFailedError)(complaint)
        at = 0
        for slot, names in zip(slots, outputs, strict=True):
            length = sum(self._lengths[name] for name in names)
            self._arena.put_results(slot, (results[at : at + length],))
            at += length
        return busy_s

    def _packed(self, actor: Actor, slots: Sequence[int], outputs: Sequence[Outputs]) -> tuple[Any, ...]:
        images = np.ascontiguousarray(self._arena.images[list(slots)])
        sent = actor.put(images) if images.nbytes > _INLINE_BYTES else images
        # Counted when nothing can fail any more: the actor waits for each number.
        number, self._sent = self._sent, self._sent + 1
        return number, sent, tuple(outputs)

    def _hired(self) -> Actor:
        if not self._actor or not self._lost or self._lost.done():
            raise ReplicaLostError(f"replica {self.device} is gone", started=False)
        return self._actor

    async def _answer(self, coroutine: Awaitable[_T], limit_s: float | None, number: int | None = None) -> _T:
        """Wait for an answer, for the actor's death, or for so long that it is killed."""
        if not self._lost:
            raise AssertionError("a replica is started before it is asked")
        asking = asyncio.ensure_future(coroutine)
        try:
            either: set[asyncio.Future[Any]] = {asking, self._lost}
            await asyncio.wait(either, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done() and not self._lost.done():
                self._settle("hung")
            elif asking.done() and not isinstance(asking.exception(), ReplicaLostError):
                return asking.result()
            await asyncio.wait({self._lost}, timeout=_INQUEST_S)
            self._settle("killed")
            cause = self._lost.result()
        finally:
            asking.cancel()
        if cause == "hung":
            raise ReplicaLostError(
                f"replica {self.device} gave no answer for {limit_s:g} s", started=self._blames(number)
            )
        # A node that is lost was not killed by an image.
        started = cause != "node_lost" and self._blames(number)
        raise ReplicaLostError(f"replica {self.device} on {self._where} died while it worked: {cause}", started=started)

    def _blames(self, number: int | None) -> bool:
        return number is None or number == self._culprit

    def _settle(self, cause: str) -> None:
        if self._lost and not self._lost.done():
            self._culprit = min(self._running, default=None)
            self._lost.set_result(cause)

    async def _find_cause(self, actor: Actor, lost: asyncio.Future[str]) -> None:
        cause = await actor.lost()
        if not lost.done():
            self._settle(cause)

    async def wait_lost(self) -> str:
        """Return when the actor is gone and every call of `run` has heard of it: "killed", "hung" or "node_lost"."""
        if not self._lost:
            return "killed"
        cause = await asyncio.shield(self._lost)
        await self._idle.wait()
        return cause

    async def close(self) -> None:
        """End the actor, or its wait for a place. Calls under way raise ReplicaLostError."""
        self._settle("killed")
        if self._inquest:
            self._inquest.cancel()
        if self._actor:
            await self._actor.kill()


async def _next(messages: AsyncIterator[Message]) -> Message:
    try:
        return await anext(messages)
    except StopAsyncIteration:
        raise ReplicaLostError("the actor ended before it was warm") from None
