"""Health by service name, as orchestrators and load balancers ask for it."""

import asyncio
import contextlib
import os
import signal
from typing import Any

import grpc
import grpc.aio
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from nasfeat_server.app import App
from serving import running

_STATUS = health_pb2.HealthCheckResponse
_READINESS = ("", "nasfeat.v1.FeatureService")


def _stub(channel: grpc.aio.Channel) -> Any:
    return health_pb2_grpc.HealthStub(channel)


def _channel(app: App) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(str(app.listening))


async def _check(stub: Any, service: str) -> int:
    status: int = (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status
    return status


@pytest.mark.parametrize("service", _READINESS)
async def test_readiness_follows_the_replicas_for_whoever_watches(service: str) -> None:
    """With every replica dead the server says NOT_SERVING, and SERVING again when one is back."""
    async with running() as app, _channel(app) as channel:
        watch = _stub(channel).Watch(health_pb2.HealthCheckRequest(service=service))
        seen = [(await watch.read()).status]
        os.kill(_replica().pid, signal.SIGKILL)
        seen += [(await watch.read()).status, (await watch.read()).status]
        watch.cancel()
    assert seen == [_STATUS.SERVING, _STATUS.NOT_SERVING, _STATUS.SERVING]


async def test_a_server_without_replicas_is_alive() -> None:
    """Liveness stays SERVING while replicas are restarted: restarting the server would only take longer."""
    async with running(weights="sleep:0") as app, _channel(app) as channel:
        stub = _stub(channel)
        os.kill(_replica().pid, signal.SIGSTOP)
        os.kill(_replica().pid, signal.SIGKILL)
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        while (await watch.read()).status != _STATUS.NOT_SERVING:
            pass
        assert await _check(stub, "liveness") == _STATUS.SERVING
        assert await _check(stub, "grpc.health.v1.Health") == _STATUS.SERVING
        watch.cancel()


async def test_a_service_that_is_not_here_is_named_as_such() -> None:
    """Check says NOT_FOUND; Watch says SERVICE_UNKNOWN and goes on, as the protocol wants it."""
    async with running() as app, _channel(app) as channel:
        stub = _stub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _check(stub, "nasfeat.v1.Nothing")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="nasfeat.v1.Nothing"))
        assert (await watch.read()).status == _STATUS.SERVICE_UNKNOWN
        watch.cancel()


@pytest.mark.parametrize("service", [*_READINESS, "liveness"])
async def test_a_server_that_stops_says_so_first(service: str) -> None:
    """SIGTERM's first effect is NOT_SERVING, under every name, while what is in flight goes on."""
    async with contextlib.AsyncExitStack() as server:
        app = await server.enter_async_context(running())
        async with _channel(app) as channel:
            watch = _stub(channel).Watch(health_pb2.HealthCheckRequest(service=service))
            assert (await watch.read()).status == _STATUS.SERVING
            stopping = asyncio.ensure_future(server.aclose())
            assert (await watch.read()).status == _STATUS.NOT_SERVING
            watch.cancel()
        await stopping


def _replica() -> psutil.Process:
    (replica,) = [child for child in psutil.Process().children() if "nasfeat_server.engine.worker" in child.cmdline()]
    return replica


async def test_a_watcher_that_leaves_takes_no_news_from_the_others() -> None:
    """Of two who watch a name, one leaves: the other hears that the server stops, and its watch ends with that."""
    async with contextlib.AsyncExitStack() as server:
        app = await server.enter_async_context(running())
        async with grpc.aio.insecure_channel(str(app.listening)) as channel:
            stays, leaves = (_stub(channel).Watch(health_pb2.HealthCheckRequest()) for _ in range(2))
            assert (await stays.read()).status == (await leaves.read()).status == _STATUS.SERVING
            leaves.cancel()
            # Whoever comes later does so when the server knows that it left.
            assert await _check(_stub(channel), "") == _STATUS.SERVING
            stopping = asyncio.ensure_future(server.aclose())
            assert (await stays.read()).status == _STATUS.NOT_SERVING
            assert await stays.read() is grpc.aio.EOF
            await stopping
