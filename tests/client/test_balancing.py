"""Which of several servers a call or stream goes to: by what each can still do, and never where none is served."""

import asyncio
import contextlib
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2_grpc

from nasfeat.v1 import load_report_pb2
from nasfeat_client import AsyncFeatureClient, ClientConfig, RetryConfig, ServerUnavailableError, _servers
from nasfeat_client._channel import check_secrecy
from nasfeat_client._endpoint import Endpoint
from nasfeat_client._load import ServerLoad
from nasfeat_client._names import Place, listed, look_up
from nasfeat_client._pool import ranked
from nasfeat_client.testing import FakeFeatureServer
from nasfeat_server.rpc.health import HealthServicer
from serving import until

CONFIG = ClientConfig(retry=RetryConfig(max_attempts=1))
NAME = "dns:///nasfeat.test:50051"


def _endpoint(target: str, *, rps: float = 0.0, utilization: float | None = None) -> Endpoint:
    load = ServerLoad()
    if utilization is not None:
        load._report = load_report_pb2.LoadReport(rps_fractional=rps, application_utilization=utilization)
    return Endpoint(Place(target=target), CONFIG, load)


def _placed(endpoints: Sequence[Endpoint], streams: int) -> dict[str, int]:
    """Open so many streams, one after the other, before anything new is said of load."""
    for _ in range(streams):
        first = ranked(endpoints, now=0.0, draw=lambda: 0.5)[0]
        first.calls.add(object())  # type: ignore[arg-type]
    return {endpoint.target: len(endpoint.calls) for endpoint in endpoints}


def test_streams_are_shared_out_by_what_servers_can_do() -> None:
    """At the same utilization those that answer 50, 100 and 200 frames a second get streams as 1 : 2 : 4."""
    three = [_endpoint(name, rps=rps, utilization=0.5) for name, rps in (("a", 25), ("b", 50), ("c", 100))]
    assert _placed(three, 14) == {"a": 2, "b": 4, "c": 8}


def test_what_others_use_is_not_there() -> None:
    """Of two equal servers one is used by others for nine tenths, the other for one: one stream in ten goes there."""
    assert _placed([_endpoint("a", rps=90, utilization=0.9), _endpoint("b", rps=10, utilization=0.1)], 10) == {
        "a": 1,
        "b": 9,
    }


def test_who_has_said_nothing_counts_as_the_others_do() -> None:
    """A new server, and one that is idle, get their share and not everything."""
    known = [_endpoint(name, rps=50, utilization=0.2) for name in ("a", "b")]
    placed = _placed([*known, _endpoint("new"), _endpoint("idle", rps=0, utilization=0)], 40)
    assert all(8 <= count <= 12 for count in placed.values()), placed


def test_an_overloaded_server_gets_nothing_as_long_as_another_is_not() -> None:
    """Half of its slots wait for a device; if all are so, none is left out."""
    assert _placed([_endpoint("a", rps=900, utilization=1.5), _endpoint("b", rps=1, utilization=1.4)], 9)["a"] == 0
    placed = _placed([_endpoint("a", rps=90, utilization=1.5), _endpoint("b", rps=90, utilization=1.5)], 10)
    assert placed == {"a": 5, "b": 5}


def test_clients_of_one_stream_do_not_all_choose_the_same() -> None:
    """A thousand clients that have nothing under way, at one moment: each server gets some, the fast one more."""
    chosen: Counter[str] = Counter()
    draw = random.Random(0).random  # noqa: S311 - no secrets
    for _ in range(1000):
        two = [_endpoint("slow", rps=10, utilization=0.5), _endpoint("fast", rps=30, utilization=0.5)]
        chosen[ranked(two, now=0.0, draw=draw)[0].target] += 1
    assert 100 < chosen["slow"] < 300


class _Well:
    """Two servers that say whether they serve."""

    def __init__(self) -> None:
        self.healths = (HealthServicer(), HealthServicer())
        self.fakes: list[FakeFeatureServer] = []


@contextlib.asynccontextmanager
async def _with_health() -> AsyncIterator[_Well]:
    well = _Well()
    starting = grpc.aio.server

    def making(*args: Any, **options: Any) -> grpc.aio.Server:
        server = starting(*args, **options)
        health_pb2_grpc.add_HealthServicer_to_server(well.healths[len(well.fakes)], server)
        return server

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grpc.aio, "server", making)
        async with contextlib.AsyncExitStack() as stack:
            for health in well.healths:
                health.set("nasfeat.v1.FeatureService", serving=True)
                well.fakes.append(await stack.enter_async_context(FakeFeatureServer()))
            yield well
            for health in well.healths:
                health.stop()


async def test_a_server_that_says_that_it_does_not_serve_gets_nothing() -> None:
    """It is told by its health alone, calls that reached it would be answered; served again it gets its share."""
    async with (
        _with_health() as well,
        AsyncFeatureClient([fake.target for fake in well.fakes], config=CONFIG) as client,
    ):
        for _ in range(2):
            await client.extract(b"picture")
        first, second = client._pool._servers.endpoints
        second.compare(follow=False)
        well.healths[0].set("nasfeat.v1.FeatureService", serving=False)
        await until(lambda: first.is_down)
        before = len(well.fakes[0].seen.options)
        streams = [client.stream(_endless()) for _ in range(4)]
        for stream in streams:
            assert (await anext(stream)).ok
        assert len(well.fakes[0].seen.options) == before
        well.healths[0].set("nasfeat.v1.FeatureService", serving=True)
        await until(lambda: not first.is_down)
        late = client.stream(_endless())
        assert (await anext(late)).ok
        assert len(well.fakes[0].seen.options) == before + 1
        for stream in (*streams, late):
            await stream.aclose()


async def test_a_name_is_all_servers_that_it_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that are added later; one that is taken away keeps its streams and gets no new ones."""
    now = 0.0
    async with FakeFeatureServer() as one, FakeFeatureServer() as other:
        known = [one]

        async def looked_up(_: str) -> list[Place]:
            return [Place(target=server.target, name="nasfeat.test:50051") for server in known]

        monkeypatch.setattr(_servers, "look_up", looked_up)
        async with AsyncFeatureClient(NAME, config=CONFIG) as client:
            client._pool._servers._clock = lambda: now
            first = client.stream(_endless())
            assert (await anext(first)).ok
            known[:] = [other]
            assert [endpoint.target for endpoint in await client._pool.in_order()] == [one.target]
            now = 11.0
            await client._pool.in_order()
            await until(lambda: client._pool._servers.endpoints[0].target == other.target)
            second = client.stream(_endless())
            assert (await anext(second)).ok
            assert [len(server.seen.options) for server in (one, other)] == [1, 1]
            assert first.resumptions == 0
            for stream in (first, second):
                await stream.aclose()
        assert NAME in repr(client)


async def test_a_name_that_nobody_knows_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """And looked up again by the next call."""

    def nobody(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    async with AsyncFeatureClient(NAME, config=CONFIG) as client:
        for _ in range(2):
            with pytest.raises(ServerUnavailableError, match=r"nasfeat\.test:50051 cannot be looked up: .*not known"):
                await client.extract(b"picture")


async def test_names_and_lists_as_grpc_writes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both kinds of addresses, each once; a port is needed."""

    def found(host: str, port: str, *_: Any, **__: Any) -> Any:
        assert (host, port) == ("nasfeat.test", "50051")
        six = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fd00::1", 50051, 0, 0))
        return [six, (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 50051)), six]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    places = await look_up(NAME)
    assert [place.target for place in places] == ["ipv4:10.0.0.1:50051", "ipv6:[fd00::1]:50051"]
    assert {place.name for place in places} == {"nasfeat.test:50051"}
    assert [place.target for place in listed("ipv4:10.0.0.1:1,10.0.0.2:2")] == ["ipv4:10.0.0.1:1", "ipv4:10.0.0.2:2"]
    assert [place.target for place in listed("unix:/run/nasfeat")] == ["unix:/run/nasfeat"]


@pytest.mark.parametrize(
    ("target", "stays"),
    [
        ("dns:///localhost:1", True),
        ("ipv4:127.0.0.1:1,127.0.0.2:1", True),
        ("ipv4:127.0.0.1:1,10.0.0.1:1", False),
        ("dns:///nasfeat.test:1", False),
    ],
)
def test_a_token_stays_here_whatever_the_form_of_the_target(target: str, *, stays: bool) -> None:
    """Every server of a list is looked at."""
    with contextlib.nullcontext() if stays else pytest.raises(ValueError, match="in the clear"):
        check_secrecy(target, ClientConfig(token="secret"))  # noqa: S106 - of nobody


async def _endless() -> AsyncIterator[bytes]:
    yield b"picture"
    await asyncio.Event().wait()
