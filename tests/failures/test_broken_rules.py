"""Row 13: streams that break the rules of their protocol."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from nasfeat.v1 import feature_service_pb2
from nasfeat_server.app import App
from serving import Request, connected, frame, opening, running


@pytest.fixture
async def app() -> AsyncIterator[App]:
    """Give a server with one free replica."""
    async with running() as app:
        yield app


async def _answers(
    app: App, requests: list[Request]
) -> tuple[list[feature_service_pb2.StreamFeaturesResponse], grpc.StatusCode, str]:
    """Send `requests`, half-close, and give every reply, and how the call ended."""
    async with connected(app) as stub:
        call: Any = stub.StreamFeatures(iter(requests))
        replies = []
        try:
            async for reply in call:
                replies.append(reply)  # noqa: PERF401 - what came before the error counts
        except grpc.aio.AioRpcError as error:
            return replies, error.code(), error.details() or ""
        return replies, grpc.StatusCode.OK, ""


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (frame(2), "frame id 2 came after 2: the ids of a stream must increase"),
        (frame(1), "frame id 1 came after 2: the ids of a stream must increase"),
        (opening(), "every message of a stream after its first must be a frame"),
        (Request(), "every message of a stream after its first must be a frame"),
    ],
    ids=["duplicate id", "id out of order", "options twice", "empty message"],
)
async def test_the_call_ends_with_what_was_wrong_and_loses_no_result(app: App, last: Request, message: str) -> None:
    """Row 13: frames sent before the mistake are all answered and summed up; then the call says what was wrong."""
    replies, code, details = await _answers(app, [opening(), frame(0), frame(1), frame(2), last])
    assert [reply.result.frame_id for reply in replies if reply.HasField("result")] == [0, 1, 2]
    assert replies[-1].summary.received == replies[-1].summary.succeeded == 3
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert message in details


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([], "the first message of a stream must be its options"),
        ([frame(0)], "the first message of a stream must be its options"),
        ([Request()], "the first message of a stream must be its options"),
        ([opening(delivery_order=9)], "delivery order 9 is neither ORDERED nor AS_COMPLETED"),
    ],
    ids=["nothing", "no options", "empty message", "unknown option"],
)
async def test_a_stream_without_options_is_refused(app: App, requests: list[Request], message: str) -> None:
    """Row 13: INVALID_ARGUMENT before anything is granted, and what the first message must be."""
    replies, code, details = await _answers(app, requests)
    assert (replies, code) == ([], grpc.StatusCode.INVALID_ARGUMENT)
    assert message in details
