"""A trace that goes through a call of TensorFlow Serving's."""

import grpc.aio

from collector import collecting
from nasfeat_server.config import TracingConfig
from serving import running
from tfserving import ask, pictures, request_of

_TRACE, _CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


async def test_a_call_and_its_images_are_traced() -> None:
    """What the caller samples is traced: the call below its span, and each image below the call with its stages."""
    async with collecting() as collector:
        tracing = TracingConfig(endpoint=collector.endpoint, ratio=0.0)
        async with running(tracing=tracing) as app, grpc.aio.insecure_channel(str(app.listening)) as channel:
            traceparent = (("traceparent", f"00-{_TRACE}-{_CALLER}-01"),)
            await ask(channel, request_of(pictures(2)), metadata=traceparent)
            await ask(channel, request_of(pictures(2)))
        [call] = collector.called("tensorflow.serving.PredictionService/Predict")
        assert (call.trace_id, call.parent_id) == (_TRACE, _CALLER)
        frames = [span for span in collector.below(call) if span.name == "frame"]
        assert len(frames) == 2
        assert all(len(collector.below(frame)) >= 4 for frame in frames)
