"""The opening of a stream's call."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc.aio

from nasfeat.v1 import feature_service_pb2
from nasfeat_client._results import grant_of
from nasfeat_client._status import error_of
from nasfeat_client.errors import DeadlinePassedError, UnexpectedReplyError
from nasfeat_client.types import StreamGrant

Call = grpc.aio.StreamStreamCall[feature_service_pb2.StreamFeaturesRequest, feature_service_pb2.StreamFeaturesResponse]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A call whose stream has been granted."""

    call: Call
    replies: AsyncIterator[feature_service_pb2.StreamFeaturesResponse]
    grant: StreamGrant


async def open_stream(
    call: Call, options: feature_service_pb2.StreamOptions, target: str, timeout_s: float | None
) -> Opened:
    """Send a stream's options and wait until they are granted; a call that failed to open is cancelled.

    Raises:
        NasfeatError: the server cannot be reached, refuses the options, or does not answer within `timeout_s`.
    """
    try:
        return await _granted(call, options, target, timeout_s)
    except BaseException:
        call.cancel()
        raise


async def _granted(
    call: Call, options: feature_service_pb2.StreamOptions, target: str, timeout_s: float | None
) -> Opened:
    # Not `call.read`, which refuses what was received before a write failed.
    replies = aiter(call)
    try:
        async with asyncio.timeout(timeout_s):
            await call.write(feature_service_pb2.StreamFeaturesRequest(options=options))
            reply = await anext(replies, None)
    except grpc.aio.AioRpcError as error:
        raise error_of(error, target) from error
    except TimeoutError as error:
        raise DeadlinePassedError(f"{target} did not open the stream within {timeout_s:g} s") from error
    if not reply or not reply.granted.options.window:
        raise UnexpectedReplyError(f"{target} did not open the stream with a grant")
    # A server that does not know `top_k` does not grant it either; it is missed with the first result.
    reply.granted.options.top_k = options.top_k
    return Opened(call=call, replies=replies, grant=grant_of(reply.granted))
