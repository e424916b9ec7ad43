"""Connections that nothing passes any more, and idle ones that are kept alive."""

import asyncio
from typing import Any

import grpc.aio
import numpy as np
import pytest

from nasfeat.v1 import feature_service_pb2_grpc
from nasfeat_client import AsyncFeatureClient, ClientConfig, KeepaliveConfig, ResumeConfig
from nasfeat_server.config import ConnectionLimits
from serving import frame, metric, next_result, opening, running, until
from tunnel import tunnel

_QUICK = ConnectionLimits(keepalive_s=0.2, keepalive_timeout_s=0.2)


async def test_the_server_lets_go_of_a_stream_that_nothing_passes_on() -> None:
    """Row 7: half-open TCP: the server's pings stay without an answer, and the stream and its slots are free again."""
    async with (
        running(connections=_QUICK, weights="sleep:0.05") as app,
        tunnel(str(app.listening)) as line,
        grpc.aio.insecure_channel(line.target) as channel,
    ):
        call: Any = feature_service_pb2_grpc.FeatureServiceStub(channel).StreamFeatures()
        await call.write(opening())
        await call.write(frame(0))
        assert await next_result(call)
        await call.write(frame(1))
        await until(lambda: metric(app, "nasfeat_in_flight_frames") == 1)
        line.cut()
        await until(lambda: metric(app, "nasfeat_streams") == 0)
        await until(lambda: metric(app, "nasfeat_slots_in_use") == 0)
        await until(lambda: metric(app, "nasfeat_in_flight_frames") == 0)
        call.cancel()


@pytest.mark.slow
async def test_the_sdk_leaves_a_connection_that_nothing_passes_on() -> None:
    """Row 7: the SDK's pings stay without an answer, and its stream goes on over another connection, no frame lost."""
    keepalive = KeepaliveConfig(interval_s=30, timeout_s=1)
    config = ClientConfig(keepalive=keepalive, resume=ResumeConfig(longest_pause_s=0.2))
    async with (
        running() as app,
        tunnel(str(app.listening)) as line,
        AsyncFeatureClient(line.target, config=config) as client,
        client.open_stream() as stream,
    ):
        await stream.send(np.zeros((32, 32, 3), np.uint8))
        assert (await anext(stream)).frame_id == 0
        line.cut()
        await stream.send(np.ones((32, 32, 3), np.uint8))
        assert (await anext(stream)).frame_id == 1
        assert stream.resumptions == 1
        assert line.connections == 2


@pytest.mark.slow
async def test_a_client_that_pings_every_ten_seconds_is_not_sent_away() -> None:
    """Row 8: an idle connection with a ping every ten seconds, five of them: it is still the same one."""
    pings = (("grpc.keepalive_time_ms", 10_000), ("grpc.keepalive_permit_without_calls", 1))
    quiet = (("grpc.http2.max_pings_without_data", 0), ("grpc.keepalive_timeout_ms", 5_000))
    async with (
        running() as app,
        tunnel(str(app.listening)) as line,
        grpc.aio.insecure_channel(line.target, options=(*pings, *quiet)) as channel,
    ):
        await asyncio.wait_for(channel.channel_ready(), 10)
        carried = line.carried
        # A ping and its answer are 17 bytes each way.
        await until(lambda: line.carried - carried >= 5 * 2 * 17)
        assert channel.get_state() is grpc.ChannelConnectivity.READY
        call: Any = feature_service_pb2_grpc.FeatureServiceStub(channel).StreamFeatures()
        await call.write(opening())
        await call.write(frame(0))
        assert await next_result(call)
        assert (line.connections, line.ended) == (1, 0)
        call.cancel()
