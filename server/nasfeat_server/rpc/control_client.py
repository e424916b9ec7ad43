"""The operator's side of the control socket."""

import contextlib
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import TypeVar

import grpc
import grpc.aio
from google.protobuf import json_format

from nasfeat.admin.v1 import admin_service_pb2, admin_service_pb2_grpc
from nasfeat_server.errors import ReloadError

_Reply = TypeVar("_Reply")


class Admin:
    """Gives orders to a server; each raises ReloadError with the reason if it is not carried out."""

    def __init__(self, stub: "admin_service_pb2_grpc.AdminServiceAsyncStub") -> None:
        """Speak through `stub`."""
        self._stub = stub

    async def status(self) -> admin_service_pb2.GetStatusResponse:
        """Ask what is served."""
        return await _answer(self._stub.GetStatus(admin_service_pb2.GetStatusRequest()))

    async def load(self, weights: str, version: str, share: float) -> None:
        """Load other weights as the canary."""
        request = admin_service_pb2.LoadModelRequest(weights=weights, version=version, share=share)
        await _answer(self._stub.LoadModel(request))

    async def set_share(self, share: float) -> None:
        """Give the canary another share of the new calls."""
        await _answer(self._stub.SetShare(admin_service_pb2.SetShareRequest(share=share)))

    async def promote(self, *, move_streams: bool, keep_previous: bool) -> None:
        """Make the canary the stable version."""
        request = admin_service_pb2.PromoteRequest(move_streams=move_streams, keep_previous=keep_previous)
        await _answer(self._stub.Promote(request))

    async def roll_back(self, *, move_streams: bool) -> None:
        """Give the canary up, or go back to the previous version."""
        await _answer(self._stub.RollBack(admin_service_pb2.RollBackRequest(move_streams=move_streams)))

    async def set_log_level(self, level: str) -> None:
        """Log from `level` upwards."""
        await _answer(self._stub.SetLogLevel(admin_service_pb2.SetLogLevelRequest(level=level)))


@contextlib.asynccontextmanager
async def connected(path: Path) -> AsyncIterator[Admin]:
    """Reach the server whose control socket is `path`."""
    # Others of this process to the same path may have failed, before a server was there.
    own = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.insecure_channel(f"unix:{path}", options=own) as channel:
        yield Admin(admin_service_pb2_grpc.AdminServiceStub(channel))


async def _answer(call: Awaitable[_Reply]) -> _Reply:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise ReloadError(error.details() or error.code().name) from error


def as_json(state: admin_service_pb2.GetStatusResponse) -> str:
    """Give the status to a program."""
    return json_format.MessageToJson(state, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def as_text(state: admin_service_pb2.GetStatusResponse) -> str:
    """Give the status to a person: a line for each version."""
    lines = [f"{'ready' if state.ready else 'NOT READY'}, log level {state.log_level}"]
    if state.loading:
        lines.append(f"loading version {state.loading!r}")
    for model in state.models:
        identity = model.identity
        lines.append(
            f"{model.label:9} {identity.version}: {identity.name} of {identity.weights_source}, {identity.precision}, "
            f"{identity.weights_digest[:19]}, {model.share:.0%} of new calls, {model.streams} streams, "
            f"{model.calls} calls, warm on {', '.join(model.warm_devices) or 'no device'}"
        )
    return "\n".join(lines)
