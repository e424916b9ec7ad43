"""The inside of the fake server: what it answers."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from typing import Any

import grpc
import grpc.aio

from nasfeat.v1 import feature_pb2, feature_service_pb2
from nasfeat.v1.feature_service_pb2_grpc import FeatureServiceServicer
from nasfeat_client._fake_outputs import problem_of, resolved, shapes_of, write_features
from nasfeat_client._fake_script import Refusal, Script, Served
from nasfeat_client.types import ModelInfo, ResultSource

_StreamContext = grpc.aio.ServicerContext[
    feature_service_pb2.StreamFeaturesRequest, feature_service_pb2.StreamFeaturesResponse
]

_OUTCOMES = {"features": "succeeded", "error": "failed", "dropped": "dropped"}


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
        self._outcomes: Counter[str] = Counter()

    async def serve(self, requests: AsyncIterator[feature_service_pb2.StreamFeaturesRequest]) -> None:
        ended = False
        try:
            async with asyncio.TaskGroup() as tasks:
                previous: asyncio.Task[None] | None = None
                async for request in requests:
                    frames = request.frames.frames if request.HasField("frames") else (request.frame,)
                    self._server.seen.frames_per_message.append(len(frames))
                    for frame in frames:
                        self._received += 1
                        self._server.seen.add_frame(frame.frame_id, self._received - self._answered)
                        previous = tasks.create_task(self._answer(frame, previous if self._ordered else None))
        except* grpc.aio.BaseError:
            # The client is gone.
            ended = False
        except* _StreamEndedError:
            ended = True
        else:
            await self._write_summary()
        if ended and self._script.ending:
            await _abort(self._context, self._script.ending)

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
        result.stream_id = self._granted.stream_id
        async with self._writing:
            if self._answered == self._script.results_before_end:
                raise _StreamEndedError
            if frame.frame_id in self._script.windows:
                update = feature_service_pb2.WindowUpdate(window=self._script.windows[frame.frame_id])
                await self._context.write(feature_service_pb2.StreamFeaturesResponse(window_update=update))
            self._count(result)
            await self._context.write(feature_service_pb2.StreamFeaturesResponse(result=result))

    def _count(self, result: feature_service_pb2.FrameResult) -> None:
        self._answered += 1
        overloaded = result.error.reason == feature_pb2.ERROR_REASON_OVERLOADED
        self._outcomes["rejected" if overloaded else _OUTCOMES[result.WhichOneof("outcome") or "error"]] += 1
        self._outcomes["deduplicated"] += result.source > feature_service_pb2.RESULT_SOURCE_COMPUTED

    async def _write_summary(self) -> None:
        summary = feature_service_pb2.StreamSummary(
            stream_id=self._granted.stream_id, received=self._received, duration_s=1.5, **self._outcomes
        )
        await self._context.write(feature_service_pb2.StreamFeaturesResponse(summary=summary))


class FakeServicer(FeatureServiceServicer):
    """The calls, named as on the wire."""

    def __init__(self, server: Served) -> None:
        self._server = server

    async def ExtractFeatures(  # noqa: N802
        self, request: feature_service_pb2.ExtractFeaturesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> feature_service_pb2.ExtractFeaturesResponse:
        script, model = self._server.script, self._server.model
        await self._refuse(context, request.model)
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
        await self._refuse(context, options.model)
        model = self._server.model
        granted = feature_service_pb2.StreamGranted(
            options=options, identity=_identity(model), feature_length=model.feature_length
        )
        granted.options.window = min(options.window or model.limits.max_window, model.limits.max_window)
        granted.options.outputs[:] = resolved(options.outputs, options.top_k)
        granted.options.stream_id = options.stream_id or f"stream-{len(self._server.seen.options)}"
        await _check(context, granted.options.outputs, options.top_k, model)
        with self._server.seen.stream(options):
            await context.write(feature_service_pb2.StreamFeaturesResponse(granted=granted))
            await _Stream(self._server, context, granted.options).serve(request_iterator)

    async def GetModel(  # noqa: N802
        self, request: feature_service_pb2.GetModelRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> feature_service_pb2.GetModelResponse:
        await self._refuse(context, request.name)
        return feature_service_pb2.GetModelResponse(model=_model(self._server.model))

    async def ListModels(  # noqa: N802
        self, request: feature_service_pb2.ListModelsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> feature_service_pb2.ListModelsResponse:
        del request
        await self._refuse(context)
        return feature_service_pb2.ListModelsResponse(models=[_model(self._server.model)])

    async def _refuse(self, context: grpc.aio.ServicerContext[Any, Any], model: str = "") -> None:
        identity = self._server.model.identity
        if model not in {"", "stable", identity.version, identity.name}:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no model {model!r} here")
        script, seen = self._server.script, self._server.seen
        if script.refusal and (script.refused_calls is None or seen.refused_calls < script.refused_calls):
            seen.refused_calls += 1
            await _abort(context, script.refusal)


async def _abort(context: grpc.aio.ServicerContext[Any, Any], refusal: Refusal) -> None:
    pushback = () if refusal.retry_after_s is None else (str(round(refusal.retry_after_s * 1000)),)
    metadata = tuple(("grpc-retry-pushback-ms", value) for value in pushback)
    await context.abort(refusal.code, refusal.message, metadata)


async def _check(
    context: grpc.aio.ServicerContext[Any, Any], outputs: Sequence[str], top_k: int, model: ModelInfo
) -> None:
    if problem := problem_of(outputs, top_k, model):
        await _abort(context, Refusal(code=grpc.StatusCode.INVALID_ARGUMENT, message=problem))


def _outcome(script: Script, frame_id: int) -> feature_service_pb2.FrameResult:
    result = feature_service_pb2.FrameResult(
        frame_id=frame_id, timings=feature_pb2.Timings(decode_s=0.001, execute_s=0.002)
    )
    if frame_id in script.failures:
        failure = script.failures[frame_id]
        result.error.reason, result.error.message = failure.reason.value, failure.message
        if failure.retry_after_s is not None:
            result.error.retry_after.FromNanoseconds(round(failure.retry_after_s * 1e9))
    elif frame_id in script.drops:
        result.dropped.reason = script.drops[frame_id].value
    else:
        result.features.SetInParent()
        result.source = script.sources.get(frame_id, ResultSource.COMPUTED).value
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
