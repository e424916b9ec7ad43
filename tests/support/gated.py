"""A real gRPC server over devices that do nothing until they are told to: what happens when is the test's to say."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import grpc.aio

from eventlog import EventLog
from nasfeat.v1 import feature_service_pb2_grpc
from nasfeat_server.config import RequestLimits
from nasfeat_server.engine.arena import Arena, ArenaLayout
from nasfeat_server.engine.fake import FakeExecutor
from nasfeat_server.engine.interface import ModelDescription
from nasfeat_server.imaging.types import ImageLimits
from nasfeat_server.rpc.answering import Answering
from nasfeat_server.rpc.authentication import AuthenticationInterceptor
from nasfeat_server.rpc.catalog import Calls, Catalog, Served
from nasfeat_server.rpc.convert import identity_message, model_message
from nasfeat_server.rpc.decoding import Decoding
from nasfeat_server.rpc.frames import FramePath
from nasfeat_server.rpc.open_streams import OpenStreams
from nasfeat_server.rpc.payload import ReceiveInterceptor
from nasfeat_server.rpc.servicer import FeatureServicer
from nasfeat_server.rpc.telling import Standing
from nasfeat_server.scheduling.dispatcher import Dispatcher
from nasfeat_server.scheduling.interface import Windows
from nasfeat_server.scheduling.sharing import Sharing
from nasfeat_server.scheduling.slots import SlotPool
from nasfeat_server.scheduling.windows import WindowKeeper
from nasfeat_server.security.tenants import Tenants
from nasfeat_server.telemetry.events import FrameFinished, FrameReceived, ModelLabel
from remote_parts import Parts, StandIns, stand_ins
from serving import until


class Turnstile(asyncio.Event):
    """A gate that lets as many batches through as it was told to."""

    def __init__(self) -> None:
        super().__init__()
        self._permits = 0

    def admit(self, count: int = 1) -> None:
        """Let `count` batches more through."""
        self._permits += count
        self.set()

    async def wait(self) -> Literal[True]:
        """Wait for a permit and use it up."""
        while not self._permits:
            self.clear()
            await super().wait()
        self._permits -= 1
        return True


class _Begun(list[tuple[int, ...]]):
    """The slots of the batches begun, and the numbers of the images that were in them then."""

    def __init__(self, arena: Arena) -> None:
        super().__init__()
        self.numbers: list[list[int]] = []
        self._images = arena.images

    def append(self, slots: tuple[int, ...]) -> None:
        """Note a batch as it begins."""
        self.numbers.append([int.from_bytes(self._images[slot].reshape(-1)[:2].tobytes(), "big") for slot in slots])
        super().append(slots)


class GatedExecutor(FakeExecutor):
    """A device whose batches wait at a turnstile, and that remembers which images they were."""

    def __init__(self, arena: Arena, *, device: str, max_batch_size: int, busy_s: float) -> None:
        super().__init__(arena, device=device, max_batch_size=max_batch_size)
        self.begun = self.batches = _Begun(arena)
        self.turnstile = self.gate = Turnstile()
        self.busy_s = lambda _: busy_s

    @property
    def numbers(self) -> list[list[int]]:
        """The numbers that `serving.pixels` wrote into the images, batch by batch."""
        return self.begun.numbers

    @property
    def computed(self) -> list[int]:
        """The same, image by image."""
        return [number for numbers in self.numbers for number in numbers]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gated:
    """A server, its devices and its parts."""

    stub: "feature_service_pb2_grpc.FeatureServiceAsyncStub"
    target: str
    devices: tuple[GatedExecutor, ...]
    path: FramePath
    windows: WindowKeeper
    log: EventLog
    scheduler: Parts
    stand_ins: StandIns | None = None

    @property
    def device(self) -> GatedExecutor:
        """The first device."""
        return self.devices[0]

    async def received(self, count: int) -> None:
        """Wait until `count` frames have come, and have gone as far as they can."""
        await until(lambda: sum(isinstance(event, FrameReceived) for event in self.log.events) == count)
        # Raw frames of the network's size are decoded on the loop: what remains takes turns of it and no time.
        for _ in range(100 if self.stand_ins else 20):
            await asyncio.sleep(0)
        if self.stand_ins:
            self.stand_ins.counterpart.tell_state()
            for _ in range(20):
                await asyncio.sleep(0)

    def finished(self) -> Counter[tuple[str, str]]:
        """Count the outcomes and reasons of the frames that have ended."""
        return Counter((event.outcome, event.reason) for event in self.log.events if isinstance(event, FrameFinished))


@contextlib.asynccontextmanager
async def gated(
    *,
    busy_s: Sequence[float] = (0.0,),
    slots: int = 16,
    max_batch_size: int = 1,
    outage_s: float = 60.0,
    limits: RequestLimits | None = None,
    sharing: Sharing | None = None,
    tenants: Tenants | None = None,
    remote: bool = False,
) -> AsyncIterator[Gated]:
    """Serve until the context ends, with a device for each of `busy_s`, its batches' time; `remote` has stand-ins."""
    arena = Arena.create(ArenaLayout(slots=slots, image_height=32, image_width=32, result_bytes=2**16))
    devices = tuple(
        GatedExecutor(arena, device=f"fake:{number}", max_batch_size=max_batch_size, busy_s=seconds)
        for number, seconds in enumerate(busy_s)
    )
    log = EventLog()
    near = _scheduler(slots, max_batch_size, outage_s, arena, log)
    far = await stand_ins(near, arena, max_streams=(limits or RequestLimits()).max_streams) if remote else None
    parts = far or near
    path = _path(parts, arena, sharing or Sharing(cache=None, max_bytes=0), log)
    asking = (AuthenticationInterceptor(tenants, log),) if tenants else ()
    server = grpc.aio.server(interceptors=(*asking, ReceiveInterceptor()))
    servicer = _servicer(await devices[0].warm_up(), path, limits or RequestLimits(), parts.windows, log)
    feature_service_pb2_grpc.add_FeatureServiceServicer_to_server(servicer, server)
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    async with asyncio.TaskGroup() as tasks, grpc.aio.insecure_channel(target) as channel:
        serving = [tasks.create_task(near.dispatcher.serve(device)) for device in devices]
        stub = feature_service_pb2_grpc.FeatureServiceStub(channel)
        try:
            yield Gated(
                stub=stub,
                target=target,
                devices=devices,
                path=path,
                windows=near.windows,
                log=log,
                scheduler=near,
                stand_ins=far,
            )
        finally:
            await server.stop(0)
            if far:
                await far.close()
            for task in serving:
                task.cancel()
    path.decoding.threads.shutdown()


def _scheduler(slots: int, max_batch_size: int, outage_s: float, arena: Arena, log: EventLog) -> Parts:
    pool = SlotPool(slots)
    dispatcher = Dispatcher(
        slots=pool,
        buckets=tuple(1 << power for power in range(max_batch_size.bit_length())),
        collect=arena.take_results,
        outage_s=outage_s,
        observer=log,
    )
    return Parts(slots=pool, dispatcher=dispatcher, windows=WindowKeeper(slots))


def _path(parts: Parts | StandIns, arena: Arena, sharing: Sharing, log: EventLog) -> FramePath:
    return FramePath(
        slots=parts.slots,
        dispatcher=parts.dispatcher,
        decoding=_decoding(arena),
        sharing=sharing,
        digest_key=bytes(32),
        observer=log,
        standing=Standing(),
    )


def _decoding(arena: Arena) -> Decoding:
    limits = ImageLimits(max_bytes=10**6, max_pixels=10**6)
    return Decoding(images=arena.images, threads=ThreadPoolExecutor(1), room=asyncio.Semaphore(4), limits=limits)


def _servicer(
    description: ModelDescription, path: FramePath, limits: RequestLimits, windows: Windows, log: EventLog
) -> FeatureServicer:
    model = model_message(description, identity_message(description, "1", ""), limits)
    catalog = Catalog()
    served = Served(path=path, description=description, model=model, windows=windows, calls=Calls())
    catalog.arrange({ModelLabel.STABLE: served})
    streams = OpenStreams(limit=limits.max_streams, observer=log)
    return FeatureServicer(catalog=catalog, limits=limits, answering=Answering(observer=log), streams=streams)
