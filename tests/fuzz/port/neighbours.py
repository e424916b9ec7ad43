"""Well-behaved clients beside the attacks: every frame of theirs is answered, and rightly."""

import asyncio
import itertools
from collections import Counter
from typing import Any

import grpc.aio
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from nasfeat.v1 import feature_service_pb2 as pb
from nasfeat.v1 import feature_service_pb2_grpc, image_pb2
from nasfeat_server.engine.fake import fingerprint

_WITHIN_S = 30
_FRAMES = 200
# Of the network's input: what is sent is what the device sees.
_SIDE = 32


class NeighbourError(Exception):
    """A well-behaved client was harmed."""


class Neighbours:
    """Streams, calls and health checks, one after the other of each kind.

    Args:
        target: the server's address.
        stop: when set, they finish what they have begun.

    Attributes:
        counts: what was answered.
    """

    def __init__(self, target: str, stop: asyncio.Event) -> None:
        self._target = target
        self._stop = stop
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Run until they are stopped.

        Raises:
            NeighbourError: an answer is wrong or missing.
        """
        async with asyncio.TaskGroup() as tasks:
            for life in (self._stream, self._stream, self._calls, self._health):
                tasks.create_task(self._live(life))

    async def _live(self, life: Any) -> None:
        # The subchannels of channels with the same options are shared.
        options = (("grpc.use_local_subchannel_pool", 1),)
        while not self._stop.is_set():
            async with grpc.aio.insecure_channel(self._target, options=options) as channel:
                try:
                    async with asyncio.timeout(_WITHIN_S):
                        await life(channel)
                except (grpc.aio.AioRpcError, TimeoutError) as error:
                    raise NeighbourError(f"{life.__name__.strip('_')}: {error!r}") from error

    async def _stream(self, channel: grpc.aio.Channel) -> None:
        call: Any = feature_service_pb2_grpc.FeatureServiceStub(channel).StreamFeatures()
        await call.write(pb.StreamFeaturesRequest(options=pb.StreamOptions()))
        await call.read()
        for number in range(_FRAMES):
            if self._stop.is_set():
                break
            await call.write(pb.StreamFeaturesRequest(frame=pb.Frame(frame_id=number, image=_image(number))))
            while not (reply := await call.read()).HasField("result"):
                pass
            _check(reply.result, number)
            self.counts["frames of neighbours"] += 1
        await call.done_writing()
        while await call.read() is not grpc.aio.EOF:
            pass
        if await call.code() is not grpc.StatusCode.OK:
            raise NeighbourError(f"a stream ended with {await call.code()}: {await call.details()}")

    async def _calls(self, channel: grpc.aio.Channel) -> None:
        stub = feature_service_pb2_grpc.FeatureServiceStub(channel)
        for number in itertools.takewhile(lambda _: not self._stop.is_set(), range(_FRAMES)):
            images = [_image(number + 1), _image(number + 2)]
            reply: Any = await stub.ExtractFeatures(pb.ExtractFeaturesRequest(images=images))
            for added, result in enumerate(reply.results, 1):
                _check(result, number + added)
            self.counts["calls of neighbours"] += 1

    async def _health(self, channel: grpc.aio.Channel) -> None:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for _ in itertools.takewhile(lambda _: not self._stop.is_set(), range(_FRAMES)):
            reply: Any = await stub.Check(health_pb2.HealthCheckRequest(), timeout=_WITHIN_S)
            if reply.status != health_pb2.HealthCheckResponse.SERVING:
                raise NeighbourError(f"health is {reply.status}")
            self.counts["health checks"] += 1


def _image(number: int) -> image_pb2.Image:
    """Make an image whose features tell its number."""
    data = number.to_bytes(2, "big") * (_SIDE * _SIDE * 3 // 2)
    return image_pb2.Image(
        raw=image_pb2.RawImage(data=data, pixel_format=image_pb2.PIXEL_FORMAT_RGB8, height=_SIDE, width=_SIDE)
    )


def _check(result: pb.FrameResult, number: int) -> None:
    if not result.HasField("features"):
        raise NeighbourError(f"frame {number} has no features: {result}")
    values = np.frombuffer(result.features.features[0].values, np.float32)
    image = np.frombuffer(_image(number).raw.data, np.uint8).reshape(1, _SIDE, _SIDE, 3)
    if not np.array_equal(values, fingerprint(image, len(values))[0]):
        raise NeighbourError(f"frame {number} has the features of another image")
