"""Reports of load as ORCA has them: with the end of calls, and at intervals for whoever asks."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import h2.config
import h2.connection
import h2.events
import numpy as np
import pytest
from google.protobuf.message import Message

import inference
import tfserving
from credentials import write_tokens
from nasfeat.inference.v2 import inference_pb2
from nasfeat.tfserving.v1 import serving_pb2
from nasfeat.v1 import feature_service_pb2, load_report_pb2
from nasfeat_client import AsyncFeatureClient
from nasfeat_server.app import App
from nasfeat_server.config import SecurityConfig
from nasfeat_server.rpc.load import interval_s
from serving import metric, opening, pixels, running, until

_METHOD = "xds.service.orca.v3.OpenRcaService/StreamCoreMetrics"
_SERVICE = "nasfeat.v1.FeatureService"
_Report = load_report_pb2.LoadReport


async def _trailers(app: App, method: str, request: Message) -> dict[bytes, bytes]:
    """Call and give the trailing metadata; of gRPC's own clients only the balancer is shown a report."""
    host, _, port = str(app.listening).rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    connection.initiate_connection()
    headers = {":method": "POST", ":scheme": "http", ":path": f"/{method}", ":authority": "test"}
    connection.send_headers(1, [*headers.items(), ("te", "trailers"), ("content-type", "application/grpc")])
    body = request.SerializeToString()
    connection.send_data(1, b"\0" + len(body).to_bytes(4, "big") + body, end_stream=True)
    found: dict[bytes, bytes] = {}
    while b"grpc-status" not in found:
        writer.write(connection.data_to_send())
        for event in connection.receive_data(await reader.read(2**16)):
            if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                found |= dict(event.headers)
    writer.close()
    return found


def _report(trailers: dict[bytes, bytes]) -> load_report_pb2.LoadReport:
    text = trailers[b"endpoint-load-metrics-bin"]
    return _Report.FromString(base64.b64decode(text + b"=" * (-len(text) % 4)))


@contextlib.asynccontextmanager
async def _reports(app: App, request: bytes = b"") -> "AsyncIterator[grpc.aio.UnaryStreamCall[Any, Any]]":
    async with grpc.aio.insecure_channel(str(app.listening)) as channel:
        call = channel.unary_stream(
            f"/{_METHOD}", request_serializer=bytes, response_deserializer=load_report_pb2.LoadReport.FromString
        )
        yield call(request)


async def test_every_call_ends_with_a_report() -> None:
    """Unary calls and streams, and those that fail; the report tells of what the server has done."""
    image = feature_service_pb2.ExtractFeaturesRequest(images=[pixels(1)])
    async with running(weights="sleep:0.05") as app:
        for _ in range(5):
            trailers = await _trailers(app, f"{_SERVICE}/ExtractFeatures", image)
        assert trailers[b"grpc-status"] == b"0"
        report = _report(trailers)
        assert 0 < report.application_utilization <= 1
        assert report.rps_fractional > 0
        assert set(report.utilization) == {"devices", "slots"}
        assert set(report.named_metrics) == {"nasfeat.queue_depth", "nasfeat.queue_wait_s", "nasfeat.slots_in_use"}
        assert _report(await _trailers(app, f"{_SERVICE}/StreamFeatures", opening())).application_utilization > 0
        failed = await _trailers(app, f"{_SERVICE}/GetModel", feature_service_pb2.GetModelRequest(name="another"))
        assert failed[b"grpc-status"] == b"5"
        assert _report(failed).application_utilization > 0


async def test_calls_of_other_protocols_end_with_one_too() -> None:
    """Whether they compute or tell, and whether they succeed."""
    triton, tf_serving = "inference.GRPCInferenceService", "tensorflow.serving.PredictionService"
    wanted = tfserving.request_of(tfserving.pictures(1), name=tfserving.NAME)
    calls: list[tuple[str, Message, bytes]] = [
        (f"{triton}/ModelInfer", inference.request(1), b"0"),
        (f"{triton}/ModelInfer", inference.request(1, model="another"), b"5"),
        (f"{triton}/ModelStreamInfer", inference.request(1), b"0"),
        (f"{triton}/ServerLive", inference_pb2.ServerLiveRequest(), b"0"),
        (f"{tf_serving}/Predict", wanted, b"0"),
        (f"{tf_serving}/Predict", serving_pb2.PredictRequest(), b"3"),
    ]
    async with running(weights="sleep:0.05") as app:
        for method, request, status in calls:
            trailers = await _trailers(app, method, request)
            assert trailers[b"grpc-status"] == status
            assert _report(trailers).application_utilization > 0


async def test_reports_at_intervals_follow_the_load() -> None:
    """The device is idle, then busy; the calls are counted under their name."""
    picture = np.zeros((32, 32, 3), np.uint8)
    async with (
        running(weights="sleep:0.05", max_batch_size=1) as app,
        _reports(app) as reports,
        AsyncFeatureClient(str(app.listening)) as client,
    ):
        report: Any = await reports.read()
        assert report.application_utilization == 0
        busy = asyncio.create_task(_keep_asking(client, picture))
        while report.application_utilization < 0.5:
            report = await reports.read()
        assert report.rps_fractional > 0
        busy.cancel()
        reports.cancel()
        await until(
            lambda: (
                metric(app, "grpc_server_call_duration_seconds_count", grpc_method=_METHOD, grpc_status="CANCELLED")
                == 1
            )
        )


async def _keep_asking(client: AsyncFeatureClient, picture: Any) -> None:
    while True:
        await client.extract(picture)


async def test_reports_end_when_the_server_stops() -> None:
    """Who is told of the load does not keep a server from stopping."""
    async with contextlib.AsyncExitStack() as server:
        app = await server.enter_async_context(running(grace_s=200.0))
        async with _reports(app) as reports:
            await reports.read()
            # Longer than the test may take, if the reports went on.
            await server.aclose()
            while await reports.read() is not grpc.aio.EOF:
                pass
            assert await reports.code() is grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("seconds", "nanos", "expected_s"),
    [(0, 0, 0.5), (0, 1, 0.5), (2, 500_000_000, 2.5), (-7, 0, 0.5), (2**62, -(2**31), 3600.0)],
)
def test_intervals_are_kept_to_within_bounds(seconds: int, nanos: int, expected_s: float) -> None:
    """What is asked for, but not oftener than the floor; what is no duration does no harm."""
    request = load_report_pb2.LoadReportRequest()
    request.report_interval.seconds, request.report_interval.nanos = seconds, nanos
    assert interval_s(request, floor_s=0.5) == expected_s


async def test_balancers_need_no_token_and_strangers_do_no_harm(tmp_path: Path) -> None:
    """As for health, since gRPC's own balancers send none; what is malformed is refused as the caller's mistake."""
    tokens = write_tokens(tmp_path / "tokens.toml", {"somebody": (("nasfeat_a-token",), {})})
    async with running(security=SecurityConfig(tokens=tokens)) as app:
        async with _reports(app) as reports:
            report: Any = await reports.read()
            assert report.application_utilization == 0
        for request in (b"\xff", b"\x0a\x00" * (2**15 + 1)):
            async with _reports(app, request) as reports:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await reports.read()
                assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
