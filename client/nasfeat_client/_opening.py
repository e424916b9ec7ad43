"""How a stream's calls are opened: the first, and those after a loss."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc.aio

from nasfeat.v1 import feature_service_pb2
from nasfeat_client._endpoint import Endpoint
from nasfeat_client._patience import Patience
from nasfeat_client._pool import Pool
from nasfeat_client._results import grant_of
from nasfeat_client._status import error_of
from nasfeat_client.config import ClientConfig
from nasfeat_client.errors import (
    DeadlinePassedError,
    NasfeatError,
    OverloadedError,
    ServerUnavailableError,
    UnexpectedReplyError,
)
from nasfeat_client.types import ModelIdentity, StreamGrant

if TYPE_CHECKING:
    from nasfeat_client._tracing import FrameSpans

Call = grpc.aio.StreamStreamCall[feature_service_pb2.StreamFeaturesRequest, feature_service_pb2.StreamFeaturesResponse]

# What may be over a little later, or is not so at another server.
_TEMPORARY = (ServerUnavailableError, DeadlinePassedError, OverloadedError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A call whose stream has been granted."""

    endpoint: Endpoint
    call: Call
    replies: AsyncIterator[feature_service_pb2.StreamFeaturesResponse]
    grant: StreamGrant


class Opener:
    """Opens one stream, as often as it has to be.

    Args:
        pool: the servers that may have it.
        options: what is asked for, each time.
        config: how to speak to them.
    """

    def __init__(self, pool: Pool, options: feature_service_pb2.StreamOptions, config: ClientConfig) -> None:
        self._pool = pool
        self._options = options
        self._options.model = config.model
        self._config = config
        self._patience = Patience(config.resume)
        self._identity: ModelIdentity | None = None
        self._endpoint: Endpoint | None = None

    def frame_spans(self) -> "FrameSpans | None":
        """Trace the stream's frames; None if nobody wants that."""
        return self._pool.tracing.frames() if self._pool.tracing else None

    async def open(self) -> Opened:
        """Open the stream at the first server that takes it, and wait until it is granted.

        Raises:
            NasfeatError: what the last one said, if none does.
        """
        *others, last = await self._pool.in_order()
        for endpoint in others:
            with suppress(*_TEMPORARY):
                return await self._open_at(endpoint)
        return await self._open_at(last)

    async def reopen(self, before: Opened, lost: ServerUnavailableError, unanswered: int) -> Opened:
        """Open the stream again after the call `before` was lost, with pauses, as long as there is patience.

        Raises:
            ServerUnavailableError: there is none left; it says what was tried, and that `unanswered` frames wait.
            NasfeatError: trying again does not help.
        """
        before.endpoint.lost()
        failure: NasfeatError = lost
        while (pause_s := self._patience.next_pause_s()) is not None:
            await asyncio.sleep(pause_s)
            try:
                return await self.open()
            except _TEMPORARY as error:
                failure = error
        if not self._patience.attempts:
            raise lost
        tried = f"{self._patience.attempts} attempts in {self._patience.waited_s:.0f} s"
        waiting = f"{unanswered} frames unanswered"
        raise ServerUnavailableError(f"{failure}; the stream was given up after {tried}, {waiting}") from failure

    def answered(self) -> None:
        """Note that the server has answered a frame."""
        self._patience.restore()
        if self._endpoint:
            self._endpoint.answered()

    async def _open_at(self, endpoint: Endpoint) -> Opened:
        span = self._pool.tracing.stream() if self._pool.tracing else None
        call = endpoint.stub.StreamFeatures(metadata=(*endpoint.metadata, *(span.metadata if span else ())))
        endpoint.watch(call)
        try:
            opened = await self._granted(endpoint, call)
        except BaseException as error:
            if isinstance(error, ServerUnavailableError | DeadlinePassedError):
                endpoint.lost()
            if span:
                span.failed(error)
            call.cancel()
            raise
        if span:
            call.add_done_callback(span.end)
        self._endpoint = endpoint
        self._identity = opened.grant.identity
        # The stream keeps the name that it was given.
        self._options.stream_id = opened.grant.options.stream_id
        if not self._config.resume.other_versions:
            # Where there are several, the stream goes on with its own.
            self._options.model = opened.grant.identity.version
        return opened

    async def _granted(self, endpoint: Endpoint, call: Call) -> Opened:
        target, timeout_s = endpoint.target, self._config.call_timeout_s
        # Not `call.read`, which refuses what was received before a write failed.
        replies = aiter(call)
        try:
            async with asyncio.timeout(timeout_s):
                await call.write(feature_service_pb2.StreamFeaturesRequest(options=self._options))
                reply = await anext(replies, None)
        except grpc.aio.AioRpcError as error:
            raise error_of(error, target) from error
        except TimeoutError as error:
            raise DeadlinePassedError(f"{target} did not open the stream within {timeout_s:g} s") from error
        if not reply or not reply.granted.options.window:
            raise UnexpectedReplyError(f"{target} did not open the stream with a grant")
        # A server that does not know `top_k` does not grant it either; it is missed with the first result.
        reply.granted.options.top_k = self._options.top_k
        grant = grant_of(reply.granted)
        if self._identity and grant.identity != self._identity and not self._config.resume.other_versions:
            raise UnexpectedReplyError(
                f"{target} has another model than the stream began with; vectors do not compare: {grant.identity}"
            )
        return Opened(endpoint=endpoint, call=call, replies=replies, grant=grant)
