"""Ray, as far as nasfeat uses it: a connection to a cluster, and actors on its nodes. Nothing else imports it.

Ray places each actor where its GPU or its cores are free; one for which none are waits, and Ray's autoscaler adds nodes
for it. Ray does not restart them: the fleet does, by its own policy, and the dispatcher retries their batches.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import threading
import warnings
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

with warnings.catch_warnings():
    # What Ray says of its own future is not for operators of nasfeat.
    warnings.simplefilter("ignore")
    import ray
    import ray.exceptions

from nasfeat_server.config import RayConfig
from nasfeat_server.engine.remote_replica import Message, RemoteReplica
from nasfeat_server.errors import ConfigurationError, DeviceMemoryError, ReplicaLostError

_log = logging.getLogger(__name__)

_CONNECT_S = 60.0
_PROBE_S = 2.0
_NO_ROOM = (ray.exceptions.ObjectStoreFullError, ray.exceptions.OutOfDiskError)


class _Actor(RemoteReplica):
    """Knows its node."""

    async def hello(self) -> Message:
        """Say where this is."""
        return {**await super().hello(), "node": ray.get_runtime_context().get_node_id()}


class RayCluster:
    """A connection to a cluster, whose driver this process is; the actors end with it, however it ends.

    There is one in a process at a time.
    """

    def __init__(self, config: RayConfig) -> None:
        """Name the cluster; `connected` goes there."""
        self._config = config

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator["RayCluster"]:
        """Stay connected until the context ends.

        Raises:
            ConfigurationError: there is no such cluster.
        """
        await self._connect()
        _take_back_sigterm()
        try:
            yield self
        finally:
            await asyncio.to_thread(ray.shutdown)

    async def _connect(self) -> None:
        address = self._config.address
        connected = asyncio.get_running_loop().create_future()
        # A thread, since in the main one Ray would take SIGTERM for itself; and one that nobody waits for at the end:
        # where nobody answers, Ray tries for ever.
        trying = threading.Thread(
            target=_connect_to, args=(address, asyncio.get_running_loop(), connected), daemon=True
        )
        trying.start()
        try:
            async with asyncio.timeout(_CONNECT_S):
                await connected
        except TimeoutError:
            raise ConfigurationError(f"the Ray cluster at {address!r} has not answered for {_CONNECT_S:g} s") from None
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise ConfigurationError(f"there is no Ray cluster at {address!r}: {error}") from error
        _log.info("connected to the Ray cluster at %s, which has %s", address, _said(ray.cluster_resources()))

    async def room(self) -> int:
        """Count the replicas that the cluster's nodes have room for, were there nothing else on them."""
        nodes = [node["Resources"] for node in await asyncio.to_thread(ray.nodes) if node["Alive"]]
        config = self._config
        return sum(
            min(_fits(node.get("GPU", 0), config.replica_gpus), _fits(node.get("CPU", 0), config.replica_cpus))
            for node in nodes
        )

    def hire(self) -> "RayActor":
        """Ask for a replica's actor; it is there when it answers."""
        config = self._config
        actor = ray.remote(_Actor).options(
            num_gpus=config.replica_gpus,
            num_cpus=config.replica_cpus,
            max_restarts=0,
            max_task_retries=0,
            # One node lost shall cost few replicas.
            scheduling_strategy="SPREAD",
        )
        return RayActor(actor.remote(), f"{config.replica_gpus:g} GPU and {config.replica_cpus:g} CPU")


class RayActor:
    """One actor, one life long.

    Attributes:
        wants: what it asks of a node.
    """

    def __init__(self, handle: Any, wants: str) -> None:
        """Call `handle`, which was made already."""
        self.wants = wants
        self._handle = handle
        self._node: str | None = None
        # A call may block: images are copied, and the object store may have to make room first.
        self._calling = ThreadPoolExecutor(1, thread_name_prefix="ray-call")

    async def hello(self) -> Message:
        """Return, once Ray has found a place, where that is."""
        said: Message = await self.call("hello", tuple)
        self._node = said["node"]
        return said

    async def call(self, method: str, arguments: Callable[[], tuple[Any, ...]]) -> Any:
        """Call `method` with what `arguments` gives, which another thread asks, in the order of the calls.

        Raises:
            ReplicaLostError: the actor is gone, or what it answered.
            DeviceMemoryError: the object store has no room for the arguments.
            ConfigurationError: the call itself failed: the node cannot import what this one can.
        """
        loop = asyncio.get_running_loop()
        with _translated():
            return await (await loop.run_in_executor(self._calling, self._send, method, arguments))[0]

    def _send(self, method: str, arguments: Callable[[], tuple[Any, ...]]) -> tuple[Any]:
        # In a tuple: what is awaitable by itself would be awaited too early.
        return (getattr(self._handle, method).remote(*arguments()),)

    async def load(self, *arguments: Any) -> AsyncIterator[Message]:
        """Call `load` and give its messages as they come; raises as `call` does."""
        with _translated():
            async for message in self._handle.load.options(num_returns="streaming").remote(*arguments):
                yield await message

    def put(self, value: Any) -> Any:
        """Leave `value` in the object store; a node fetches it once for all of its actors. Blocks."""
        return ray.put(value)

    async def lost(self) -> str:
        """Return when the actor is gone: "node_lost", or "killed" if its node is alive."""
        with contextlib.suppress(ReplicaLostError, ConfigurationError):
            await self.call("live", tuple)
        with contextlib.suppress(Exception):
            if not await asyncio.to_thread(self._has_node):
                return "node_lost"
        return "killed"

    def _has_node(self) -> bool:
        """Look for the node: Ray takes some time to be sure that it is gone, and its port closes at once."""
        node = next((node for node in ray.nodes() if node["NodeID"] == self._node), None)
        if node is None:
            # It never had a place.
            return True
        if not node["Alive"]:
            return False
        try:
            socket.create_connection((node["NodeManagerAddress"], node["NodeManagerPort"]), _PROBE_S).close()
        except OSError:
            return False
        return True

    async def kill(self) -> None:
        """End the actor's process, or its wait for a place."""
        with contextlib.suppress(Exception):
            await asyncio.to_thread(ray.kill, self._handle)
        self._calling.shutdown(wait=False)


@contextlib.contextmanager
def _translated() -> Any:
    try:
        yield
    except _NO_ROOM as error:
        raise DeviceMemoryError(f"Ray's object store has no room for the batch: {error}") from error
    except ray.exceptions.RayTaskError as error:
        raise ConfigurationError(f"the node's nasfeat fails: {error}") from error
    except ray.exceptions.RayError as error:
        raise ReplicaLostError(str(error).splitlines()[0]) from error


def _connect_to(address: str, loop: asyncio.AbstractEventLoop, connected: asyncio.Future[None]) -> None:
    # It warns, in words for its developers, of what is meant to be so here, and of what nasfeat tells by itself.
    logging.getLogger("ray").setLevel(logging.ERROR)
    outcome: Exception | None = None
    try:
        _knock(address)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(
                address=address,
                configure_logging=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                namespace="nasfeat",
            )
    except Exception as error:  # noqa: BLE001 - raised again where it is waited for
        outcome = error

    def tell() -> None:
        if not connected.done():
            connected.set_exception(outcome) if outcome else connected.set_result(None)

    # The loop may be gone by now.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(tell)


def _knock(address: str) -> None:
    """Raise at once where nobody listens, instead of a minute later."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), _PROBE_S).close()


def _take_back_sigterm() -> None:
    """Have SIGTERM handled as it was before: Ray's library would end the process at once, and a server is to drain."""
    if threading.current_thread() is threading.main_thread():
        # To Python the handler is what it was all along; setting it anew puts it in the place of the library's.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        signal.siginterrupt(signal.SIGTERM, False)  # noqa: FBT003 - it takes no names


def _fits(there: float, wanted: float) -> int:
    return int(there / wanted + 1e-6) if wanted else 2**31


def _said(resources: dict[str, float]) -> str:
    return ", ".join(f"{resources.get(name, 0):g} {name}" for name in ("GPU", "CPU"))
