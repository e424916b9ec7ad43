"""The protocols of other servers that are spoken beside our own: their parts, constructed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from nasfeat_server.config import Facade, RequestLimits
from nasfeat_server.facades.open_inference import OpenInference
from nasfeat_server.facades.tfserving import TensorFlowServing
from nasfeat_server.rpc.answering import Answering
from nasfeat_server.rpc.catalog import Catalog
from nasfeat_server.rpc.control import ServerState
from nasfeat_server.rpc.open_streams import OpenStreams
from nasfeat_server.rpc.service import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What facades are made of.

    Attributes:
        catalog: the versions of the model.
        limits: what a request may ask for.
        answering: ends every call.
        streams: those that are open.
        state: says what is served, and what is under way.
    """

    catalog: Catalog
    limits: RequestLimits
    answering: Answering
    streams: OpenStreams
    state: Callable[[], ServerState]


class _Made(Protocol):
    def services(self) -> Sequence[Service]: ...


def _open_inference(parts: Parts) -> _Made:
    return OpenInference(
        catalog=parts.catalog,
        limits=parts.limits,
        answering=parts.answering,
        streams=parts.streams,
        state=parts.state,
    )


def _tensorflow_serving(parts: Parts) -> _Made:
    return TensorFlowServing(catalog=parts.catalog, limits=parts.limits, answering=parts.answering, state=parts.state)


_MAKERS: Mapping[Facade, Callable[[Parts], _Made]] = {
    Facade.OPEN_INFERENCE: _open_inference,
    Facade.TENSORFLOW_SERVING: _tensorflow_serving,
}


def services_of(wanted: Sequence[Facade], parts: Parts) -> tuple[Service, ...]:
    """Give the services of the facades that are wanted."""
    return tuple(service for facade in wanted for service in _MAKERS[facade](parts).services())
