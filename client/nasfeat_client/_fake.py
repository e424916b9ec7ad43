"""The inside of the fake server: what it answers, and what it remembers."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import grpc
import grpc.aio

from nasfeat.v1 import feature_pb2, feature_service_pb2
from nasfeat.v1.feature_service_pb2_grpc import FeatureServiceServicer
from nasfeat_client._fake_outputs import problem_of, resolved, shapes_of, write_features
from nasfeat_client.result import FrameError
from nasfeat_client.types import DropReason, ModelInfo

_StreamContext = grpc.aio.ServicerContext[
    feature_service_pb2.StreamFeaturesRequest, feature_service_pb2.StreamFeaturesResponse
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A call's failure.

    Attributes:
        code: the gRPC status code.
        message: its details.
        retry_after_s: when to come again, sent as `grpc-retry-pushback-ms`.
    """

    code: grpc.StatusCode
    message: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What a fake server does other than answer at once with features.

    Attributes:
        failures: the frames that fail, by id; an image of a unary call has its index for an id.
        drops: the frames that are dropped.
        gates: frames that are answered only once their event is set.
        refusal: fails every call.
        results_before_end: a stream ends after so many results.
        ending: how it ends then; None means without an error.
    """

    failures: Mapping[int, FrameError] = field(default_factory=dict)
    drops: Mapping[int, DropReason] = field(default_factory=dict)
    gates: Mapping[int, asyncio.Event] = field(default_factory=dict)
    refusal: Refusal | None = None
    results_before_end: int | None = None
    ending: Refusal | None = None


class Seen:
    """What a fake server was sent.

    Attributes:
        frame_ids: the ids of all frames of all streams, as they came.
        options: the options of all streams, as they came.
        most_in_flight: the most frames that one stream had sent without an answer.
    """

    def __init__(self) -> None:
        self.frame_ids: list[int] = []
        self.options: list[feature_service_pb2.StreamOptions] = []
        self.most_in_flight = 0
        self._open_streams = 0
        self._no_streams = asyncio.Event()
        self._no_streams.set()
        self._arrival = asyncio.Event()

    async def frames(self, count: int) -> None:
        """Wait until `count` frames have come."""
        while len(self.frame_ids) < count:
            self._arrival.clear()
            await self._arrival.wait()

    def add_frame(self, frame_id: int, in_flight: int) -> None:
        """Count a frame of a stream that has now `in_flight` without an answer."""
        self.frame_ids.append(frame_id)
        self.most_in_flight = max(self.most_in_flight, in_flight)
        self._arrival.set()

    async def streams_closed(self) -> None:
        """Wait until no stream is open."""
        await self._no_streams.wait()

    @contextmanager
    def stream(self, options: feature_service_pb2.StreamOptions) -> Iterator[None]:
        """Count a stream as open."""
        self.options.append(options)
        self._open_streams += 1
        self._no_streams.clear()
        try:
            yield
        finally:
            self._open_streams -= 1
            if not self._open_streams:
                self._no_streams.set()


@dataclass(slots=True, kw_only=True)
class Served:
    """What a fake server goes by; the test that runs it may change it."""

    model: ModelInfo
    script: Script
    seen: Seen


class _StreamEndedError(Exception):
    """The script ends the stream here."""


class _Stream:
    """One stream of a fake server."""

    def __init__(self, server: Served, context: _StreamContext, granted: feature_service_pb2.StreamOptions) -> None:
        self._server = server
        self._granted = granted
        self._script = server.script
        self._context = context
        self._ordered = granted.delivery_order != feature_service_pb2.DELIVERY_ORDER_AS_COMPLETED
        self._writing = asyncio.Lock()
        self._received = 0
        self._answered = 0

    async def serve(self, requests: AsyncIterator[feature_service_pb2.StreamFeaturesRequest]) -> None:
        ended = False
        try:
            async with asyncio.TaskGroup() as tasks:
                previous: asyncio.Task[None] | None = None
                async for request in requests:
                    self._received += 1
                    self._server.seen.add_frame(request.frame.frame_id, self._received - self._answered)
                    previous = tasks.create_task(self._answer(request.frame, previous if self._ordered else None))
        except* grpc.aio.BaseError:
            # The client is gone.
            ended = False
        except* _StreamEndedError:
            ended = True
        if ended:
            await _refuse(self._context, self._script.ending)

    async def _answer(self, frame: feature_service_pb2.Frame, previous: asyncio.Task[None] | None) -> None:
        gate = self._script.gates.get(frame.frame_id)
        if gate:
            await gate.wait()
        if previous:
            await asyncio.wait({previous})
        result = _outcome(self._script, frame.frame_id)
        if result.HasField("features"):
            model, granted = self._server.model, self._granted
            write_features(result.features, frame.image, granted.outputs, granted.top_k, model)
        if frame.HasField("capture_time"):
            result.capture_time.CopyFrom(frame.capture_time)
        result.identity.CopyFrom(_identity(self._server.model))
        async with self._writing:
            if self._answered == self._script.results_before_end:
                raise _StreamEndedError
            self._answered += 1
            await self._context.write(feature_service_pb2.StreamFeaturesResponse(result=result))


class FakeServicer(FeatureServiceServicer):
    """The calls, named as on the wire."""

    def __init__(self, server: Served) -> None:
        self._server = server

    async def ExtractFeatures(  # noqa: N802
        self, request: feature_service_pb2.ExtractFeaturesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> feature_service_pb2.ExtractFeaturesResponse:
        script, model = self._server.script, self._server.model
        await _refuse(context, script.refusal)
        outputs = resolved(request.outputs, request.top_k)
        await _check(context, outputs, request.top_k, model)
        for index in range(len(request.images)):
            if index in script.gates:
                await script.gates[index].wait()
        results = [_outcome(script, index) for index in range(len(request.images))]
        for result, image in zip(results, request.images, strict=True):
            if result.HasField("features"):
                write_features(result.features, image, outputs, request.top_k, model)
        return feature_service_pb2.ExtractFeaturesResponse(results=results, identity=_identity(model))

    async def StreamFeatures(  # type: ignore[override]  # noqa: N802 - grpc.aio takes a coroutine that writes, too
        self,
        request_iterator: AsyncIterator[feature_service_pb2.StreamFeaturesRequest],
        context: _StreamContext,
    ) -> None:
        options = (await anext(request_iterator)).options
        await _refuse(context, self._server.script.refusal)
        model = self._server.model
        granted = feature_service_pb2.StreamGranted(
            options=options, identity=_identity(model), feature_length=model.feature_length
        )
        granted.options.window = min(options.window or model.limits.max_window, model.limits.max_window)
        granted.options.outputs[:] = resolved(options.outputs, options.top_k)
        await _check(context, granted.options.outputs, options.top_k, model)
        with self._server.seen.stream(options):
            await context.write(feature_service_pb2.StreamFeaturesResponse(granted=granted))
            await _Stream(self._server, context, granted.options).serve(request_iterator)

    async def GetModel(  # noqa: N802
        self, request: feature_service_pb2.GetModelRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> feature_service_pb2.GetModelResponse:
        await _refuse(context, self._server.script.refusal)
        if request.name not in {"", self._server.model.identity.name}:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no model {request.name!r} here")
        return feature_service_pb2.GetModelResponse(model=_model(self._server.model))

    async def ListModels(  # noqa: N802
        self, request: feature_service_pb2.ListModelsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> feature_service_pb2.ListModelsResponse:
        del request
        await _refuse(context, self._server.script.refusal)
        return feature_service_pb2.ListModelsResponse(models=[_model(self._server.model)])


async def _refuse(context: grpc.aio.ServicerContext[Any, Any], refusal: Refusal | None) -> None:
    if refusal:
        pushback = () if refusal.retry_after_s is None else (str(round(refusal.retry_after_s * 1000)),)
        metadata = tuple(("grpc-retry-pushback-ms", value) for value in pushback)
        await context.abort(refusal.code, refusal.message, metadata)


async def _check(
    context: grpc.aio.ServicerContext[Any, Any], outputs: Sequence[str], top_k: int, model: ModelInfo
) -> None:
    if problem := problem_of(outputs, top_k, model):
        await _refuse(context, Refusal(code=grpc.StatusCode.INVALID_ARGUMENT, message=problem))


def _outcome(script: Script, frame_id: int) -> feature_service_pb2.FrameResult:
    result = feature_service_pb2.FrameResult(
        frame_id=frame_id, timings=feature_pb2.Timings(decode_s=0.001, execute_s=0.002)
    )
    if frame_id in script.failures:
        failure = script.failures[frame_id]
        result.error.reason, result.error.message = failure.reason.value, failure.message
    elif frame_id in script.drops:
        result.dropped.reason = script.drops[frame_id].value
    else:
        result.features.SetInParent()
    return result


def _identity(model: ModelInfo) -> feature_pb2.ModelIdentity:
    return feature_pb2.ModelIdentity(**asdict(model.identity))


def _model(model: ModelInfo) -> feature_service_pb2.Model:
    return feature_service_pb2.Model(
        identity=_identity(model),
        image_height=model.image_height,
        image_width=model.image_width,
        image_channels=model.image_channels,
        feature_length=model.feature_length,
        outputs=model.outputs,
        output_shapes=[
            feature_service_pb2.OutputShape(output=name, shape=shape) for name, shape in shapes_of(model).items()
        ],
        labels=model.labels,
        limits=feature_service_pb2.Limits(**asdict(model.limits)),
    )
