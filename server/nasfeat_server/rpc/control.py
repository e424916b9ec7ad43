"""The operators' socket: what is served can be looked at and changed while the server runs.

It is a socket of the file system that only the server's own user may open, so that whoever reaches the port of the
clients, and whoever may send images, still cannot name weights to be loaded.
"""

import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import grpc
import grpc.aio

from nasfeat.admin.v1 import admin_service_pb2, admin_service_pb2_grpc
from nasfeat_server.errors import ConfigurationError, ReloadError
from nasfeat_server.rpc.catalog import Served
from nasfeat_server.rpc.control_client import connected
from nasfeat_server.telemetry import logging
from nasfeat_server.telemetry.events import ModelLabel

_Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState:
    """One version of the model.

    Attributes:
        label: its label, or "retiring" when its last calls are being finished.
        share: of the new calls that name no version, 0 to 1.
        warm_devices: devices whose replica of this version takes work.
    """

    label: str
    served: Served
    share: float
    warm_devices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """What is served now.

    Attributes:
        models: the stable version first, the retiring ones last.
        loading: the version that is being loaded; "" if none is.
        ready: the server takes work.
    """

    models: tuple[ModelState, ...]
    loading: str
    ready: bool


class Control(Protocol):
    """Who carries the operators' orders out; each raises ReloadError if it cannot."""

    def state(self) -> ServerState:
        """Say what is served, and what is under way."""
        ...

    async def load(self, *, weights: str, version: str, share: float) -> None:
        """Load other weights as the canary."""
        ...

    async def set_share(self, share: float) -> None:
        """Give the canary another share."""
        ...

    async def promote(self, *, move_streams: bool, keep_previous: bool) -> None:
        """Make the canary the stable version."""
        ...

    async def roll_back(self, *, move_streams: bool) -> None:
        """Give the canary up, or go back to the previous version."""
        ...


class ControlServer:
    """Listens on a socket of the file system while its context is open.

    Args:
        path: where the socket is; it must not be there yet, unless left behind by a server that is gone.
        control: who carries the orders out.
    """

    def __init__(self, path: Path, control: Control) -> None:
        self._path = path
        self._server = grpc.aio.server()
        admin_service_pb2_grpc.add_AdminServiceServicer_to_server(_AdminServicer(control), self._server)

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            ConfigurationError: the socket cannot be made, or another server answers on it.
        """
        if await _is_answered(self._path):
            raise ConfigurationError(f"another server answers on the control socket {self._path}")
        # The mode of a socket is decided when it is made.
        before = os.umask(0o177)
        try:
            self._server.add_insecure_port(f"unix:{self._path}")
        except RuntimeError as error:
            raise ConfigurationError(f"cannot make the control socket {self._path}: {error}") from error
        finally:
            os.umask(before)
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening; orders under way are given up."""
        await self._server.stop(0)
        self._path.unlink(missing_ok=True)


async def _is_answered(path: Path) -> bool:
    try:
        async with connected(path) as server:
            await server.status()
    except ReloadError:
        return False
    return True


class _AdminServicer(admin_service_pb2_grpc.AdminServiceServicer):
    """Hands orders on; what cannot be done is FAILED_PRECONDITION with the reason."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def GetStatus(
        self, request: admin_service_pb2.GetStatusRequest, context: _Context
    ) -> admin_service_pb2.GetStatusResponse:
        del request, context
        state = self._control.state()
        return admin_service_pb2.GetStatusResponse(
            models=[_message(model) for model in state.models],
            loading=state.loading,
            ready=state.ready,
            log_level=logging.level(),
        )

    async def LoadModel(
        self, request: admin_service_pb2.LoadModelRequest, context: _Context
    ) -> admin_service_pb2.LoadModelResponse:
        async with _answering(context):
            await self._control.load(weights=request.weights, version=request.version, share=request.share)
        canary = next(model for model in self._control.state().models if model.label == ModelLabel.CANARY)
        return admin_service_pb2.LoadModelResponse(model=_message(canary))

    async def SetShare(
        self, request: admin_service_pb2.SetShareRequest, context: _Context
    ) -> admin_service_pb2.SetShareResponse:
        async with _answering(context):
            await self._control.set_share(request.share)
        return admin_service_pb2.SetShareResponse()

    async def Promote(
        self, request: admin_service_pb2.PromoteRequest, context: _Context
    ) -> admin_service_pb2.PromoteResponse:
        async with _answering(context):
            await self._control.promote(move_streams=request.move_streams, keep_previous=request.keep_previous)
        return admin_service_pb2.PromoteResponse()

    async def RollBack(
        self, request: admin_service_pb2.RollBackRequest, context: _Context
    ) -> admin_service_pb2.RollBackResponse:
        async with _answering(context):
            await self._control.roll_back(move_streams=request.move_streams)
        return admin_service_pb2.RollBackResponse()

    async def SetLogLevel(
        self, request: admin_service_pb2.SetLogLevelRequest, context: _Context
    ) -> admin_service_pb2.SetLogLevelResponse:
        async with _answering(context):
            _set_log_level(request.level)
        return admin_service_pb2.SetLogLevelResponse()


@contextlib.asynccontextmanager
async def _answering(context: _Context) -> AsyncIterator[None]:
    try:
        yield
    except ReloadError as error:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))


def _message(model: ModelState) -> admin_service_pb2.ModelStatus:
    calls = model.served.calls
    return admin_service_pb2.ModelStatus(
        label=model.label,
        identity=model.served.model.identity,
        share=model.share,
        streams=calls.stream_count,
        calls=calls.count,
        warm_devices=model.warm_devices,
    )


def _set_log_level(level: str) -> None:
    if level not in logging.LEVELS:
        raise ReloadError(f"{level!r} is not a level of the log: {', '.join(logging.LEVELS)}")
    logging.set_level(level)
