"""Row 28: a tenant that sends more than its quota, beside one that keeps to its own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from credentials import bearing, write_tokens
from gated import Gated, gated
from nasfeat.v1 import feature_service_pb2
from nasfeat_server.security.tenants import Tenants
from serving import frame, next_result, opening, pixels, until

_GREEDY, _MODEST = "nasfeat_of-the-greedy", "nasfeat_of-the-modest"
# Beside the burst, no frame comes within a test.
_SELDOM = {"frames_per_second": 1e-6}
_MODEST_NUMBERS = 1000
_ExtractRequest = feature_service_pb2.ExtractFeaturesRequest


class _Quotas:
    """The file of the two tenants."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.tenants = Tenants(path)

    def write(self, **quota: Any) -> None:
        """Give the greedy one `quota`; the modest one has none."""
        tenants: Mapping[str, Any] = {"greedy": ((_GREEDY,), quota), "modest": ((_MODEST,), {})}
        write_tokens(self._path, tenants)

    def change(self, **quota: Any) -> None:
        """Do so while the server runs."""
        self.write(**quota)
        self.tenants.refresh()


@pytest.fixture
def quotas(tmp_path: Path) -> _Quotas:
    """Prepare them."""
    return _Quotas(tmp_path / "tokens.toml")


@contextlib.asynccontextmanager
async def _serving(quotas: _Quotas, **quota: Any) -> AsyncIterator[Gated]:
    quotas.write(**quota)
    quotas.tenants.load()
    async with gated(tenants=quotas.tenants, max_batch_size=4) as server:
        server.device.turnstile.admit(10**6)
        yield server


async def _opened(server: Gated, token: str, **options: Any) -> Any:
    call: Any = server.stub.StreamFeatures(metadata=bearing(token))
    await call.write(opening(**options))
    assert (await call.read()).HasField("granted")
    return call


async def _send(call: Any, numbers: range) -> None:
    for number in numbers:
        await call.write(frame(number))


async def _modest_is_served(server: Gated) -> None:
    """Let the modest tenant stream a hundred frames, and see each answered."""
    numbers = range(_MODEST_NUMBERS, _MODEST_NUMBERS + 100)
    call = await _opened(server, _MODEST)
    sending = asyncio.ensure_future(_send(call, numbers))
    for number in numbers:
        result = await next_result(call)
        assert result
        assert (result.frame_id, result.HasField("features")) == (number, True)
    await sending
    await call.done_writing()
    assert await next_result(call) is None


def _computed(server: Gated) -> list[int]:
    return [number for number in server.device.computed if number < _MODEST_NUMBERS]


async def test_a_stream_above_its_quota_is_read_no_faster(quotas: _Quotas) -> None:
    """Row 28: of fifty frames the burst of five is computed; the other tenant's hundred all are, meanwhile."""
    async with _serving(quotas, **_SELDOM, burst=5) as server:
        greedy = await _opened(server, _GREEDY)
        sending = asyncio.ensure_future(_send(greedy, range(50)))
        assert [result.frame_id for _ in range(5) if (result := await next_result(greedy))] == [0, 1, 2, 3, 4]
        await _modest_is_served(server)
        assert _computed(server) == [0, 1, 2, 3, 4]
        # What waits for the quota holds no slot, which the other one could need.
        assert server.path.slots.in_use == 0
        meter: Any = quotas.tenants.known[0].account.meter
        assert (meter.admitted, meter.held_back, meter.waiting) == (5, 1, 1)
        quotas.change()
        await sending
        await greedy.done_writing()
        assert [result.frame_id for _ in range(45) if (result := await next_result(greedy))] == list(range(5, 50))


async def test_all_streams_of_a_tenant_share_its_quota(quotas: _Quotas) -> None:
    """Row 28: ten streams get no more than one would."""
    async with _serving(quotas, **_SELDOM, burst=7) as server:
        calls = [await _opened(server, _GREEDY) for _ in range(10)]
        for call in calls:
            await _send(call, range(2))
        await until(lambda: len(_computed(server)) == 7)
        await _modest_is_served(server)
        assert len(_computed(server)) == 7


async def test_live_streams_give_frames_up_while_they_wait_for_their_quota(quotas: _Quotas) -> None:
    """Row 28: LATEST_ONLY: what the quota then lets through is the newest frame; the others were superseded."""
    async with _serving(quotas, **_SELDOM, burst=1) as server:
        latest = feature_service_pb2.OVERLOAD_POLICY_LATEST_ONLY
        greedy = await _opened(server, _GREEDY, overload_policy=latest, window=32)
        await greedy.write(frame(0))
        assert await next_result(greedy)
        await _send(greedy, range(1, 20))
        for number in range(1, 19):
            result = await next_result(greedy)
            assert result
            assert (result.frame_id, result.HasField("dropped")) == (number, True)
        await _modest_is_served(server)
        quotas.change()
        last = await next_result(greedy)
        assert last
        assert (last.frame_id, last.HasField("features")) == (19, True)
        assert _computed(server) == [0, 19]


async def test_streams_that_reject_are_told_when_to_come_again(quotas: _Quotas) -> None:
    """Row 28: REJECT: what is above quota and backlog is answered at once, with the pause that the quota asks for."""
    async with _serving(quotas, frames_per_second=0.001, burst=1) as server:
        reject = feature_service_pb2.OVERLOAD_POLICY_REJECT
        order = feature_service_pb2.DELIVERY_ORDER_AS_COMPLETED
        greedy = await _opened(server, _GREEDY, overload_policy=reject, backlog=2, delivery_order=order)
        await greedy.write(frame(0))
        assert await next_result(greedy)
        await _send(greedy, range(1, 10))
        for number in range(3, 10):
            result = await next_result(greedy)
            assert result
            assert (result.frame_id, result.error.code) == (number, grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])
            assert result.error.retry_after.ToTimedelta().total_seconds() > 900
        await _modest_is_served(server)
        quotas.change()
        assert [result.frame_id for _ in range(2) if (result := await next_result(greedy))] == [1, 2]


async def test_calls_above_the_quota_are_refused(quotas: _Quotas) -> None:
    """Row 28: RESOURCE_EXHAUSTED with the time to wait; within one call, the images above the quota fail alone."""
    async with _serving(quotas, frames_per_second=0.001, burst=3) as server:
        request = _ExtractRequest(images=[pixels(number) for number in range(5)])
        response = await server.stub.ExtractFeatures(request, metadata=bearing(_GREEDY))
        assert [result.HasField("features") for result in response.results] == [True] * 3 + [False] * 2
        with pytest.raises(grpc.aio.AioRpcError, match=r"above its 0\.001 frames a second") as caught:
            await server.stub.ExtractFeatures(request, metadata=bearing(_GREEDY))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        pushback_ms = int(str(dict(caught.value.trailing_metadata() or ())["grpc-retry-pushback-ms"]))
        assert 900_000 < pushback_ms <= 1_000_000
        others = await server.stub.ExtractFeatures(request, metadata=bearing(_MODEST))
        assert all(result.HasField("features") for result in others.results)


async def test_the_limit_of_streams_is_exact_and_a_tenants_own(quotas: _Quotas) -> None:
    """Row 28: of ten streams at once three are granted; one that ends makes room for another."""
    async with _serving(quotas, max_streams=3) as server:
        calls: list[Any] = [server.stub.StreamFeatures(metadata=bearing(_GREEDY)) for _ in range(10)]
        for call in calls:
            await call.write(opening())
        answers = await asyncio.gather(*(call.read() for call in calls), return_exceptions=True)
        granted = [call for call, answer in zip(calls, answers, strict=True) if not isinstance(answer, BaseException)]
        assert len(granted) == 3
        refusals = {(answer.code(), answer.details()) for answer in answers if isinstance(answer, grpc.aio.AioRpcError)}
        reason = "tenant greedy has 3 streams open, which is its limit; try again later"
        assert refusals == {(grpc.StatusCode.RESOURCE_EXHAUSTED, reason)}
        await _modest_is_served(server)
        await granted[0].done_writing()
        assert await next_result(granted[0]) is None
        (tenant, _) = quotas.tenants.known
        await until(lambda: len(tenant.streams) == 2)
        await _opened(server, _GREEDY)


@pytest.mark.parametrize(
    ("ceiling", "asked", "granted"),
    [("low", "HIGH", "LOW"), ("low", "UNSPECIFIED", "LOW"), ("normal", "HIGH", "NORMAL"), ("normal", "LOW", "LOW")],
)
async def test_no_stream_is_above_its_tenants_priority(quotas: _Quotas, ceiling: str, asked: str, granted: str) -> None:
    """Row 28: the grant says which priority the stream has; another tenant's is as asked for."""
    priorities = {name.removeprefix("PRIORITY_"): value for name, value in feature_service_pb2.Priority.items()}
    async with _serving(quotas, max_priority=ceiling) as server:
        for token, expected in ((_GREEDY, granted), (_MODEST, asked.replace("UNSPECIFIED", "NORMAL"))):
            call: Any = server.stub.StreamFeatures(metadata=bearing(token))
            await call.write(opening(priority=priorities[asked]))
            assert (await call.read()).granted.options.priority == priorities[expected]
            call.cancel()
