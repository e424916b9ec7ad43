"""Real servers for tests: the whole application on free ports, with replicas that cost nothing."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc.aio
from prometheus_client import CollectorRegistry

from nasfeat.v1 import feature_service_pb2, feature_service_pb2_grpc, image_pb2
from nasfeat_server.app import App
from nasfeat_server.config import Endpoint, ServerConfig

Request = feature_service_pb2.StreamFeaturesRequest

_ANY_PORT = Endpoint(host="127.0.0.1", port=0)

FAKE = ServerConfig(
    variant="cifar",
    engine="fake",
    weights="random:0",
    listen=_ANY_PORT,
    metrics=_ANY_PORT,
    grace_s=10.0,
    # Tests send equal images for simplicity's sake.
    single_flight=False,
)


@contextlib.asynccontextmanager
async def running(config: ServerConfig = FAKE, **changes: Any) -> AsyncIterator[App]:
    """Run a server until the context ends, then stop it as SIGTERM would."""
    app = App(dataclasses.replace(config, **changes))
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(app.run(stop))
        await app.ready.wait()
        try:
            yield app
        finally:
            stop.set()


@contextlib.asynccontextmanager
async def connected(app: App) -> "AsyncIterator[feature_service_pb2_grpc.FeatureServiceAsyncStub]":
    """Give a bare stub for `app`, without the SDK between a test and the wire."""
    async with grpc.aio.insecure_channel(str(app.listening)) as channel:
        yield feature_service_pb2_grpc.FeatureServiceStub(channel)


def metric(app: App, name: str, **labels: str) -> float:
    """Read one sample of the server's registry; 0 if there is none yet."""
    registry: CollectorRegistry = app._metrics.registry
    return registry.get_sample_value(name, labels) or 0.0


async def until(holds: Callable[[], bool]) -> None:
    """Return when `holds()`; the test's own timeout bounds the wait."""
    while not holds():  # noqa: ASYNC110 - what tests wait for are metrics, which have no event
        await asyncio.sleep(0.005)


def pixels(value: int, size: int = 32) -> image_pb2.Image:
    """Make a square raw image whose first two bytes are `value`, so that its fingerprint names it."""
    data = value.to_bytes(2, "big") + bytes(size * size * 3 - 2)
    raw = image_pb2.RawImage(data=data, pixel_format=image_pb2.PIXEL_FORMAT_RGB8, height=size, width=size)
    return image_pb2.Image(raw=raw)


async def next_result(call: Any) -> feature_service_pb2.FrameResult | None:
    """Read the next result of a stream past everything else; None at its end."""
    while (reply := await call.read()) is not grpc.aio.EOF:
        if reply.HasField("result"):
            result: feature_service_pb2.FrameResult = reply.result
            return result
    return None


def opening(**options: Any) -> feature_service_pb2.StreamFeaturesRequest:
    """Make the first message of a stream."""
    return feature_service_pb2.StreamFeaturesRequest(options=feature_service_pb2.StreamOptions(**options))


def frame(frame_id: int, image: image_pb2.Image | None = None) -> feature_service_pb2.StreamFeaturesRequest:
    """Make one frame, by default one whose fingerprint is its id."""
    content = feature_service_pb2.Frame(frame_id=frame_id, image=image or pixels(frame_id))
    return feature_service_pb2.StreamFeaturesRequest(frame=content)
