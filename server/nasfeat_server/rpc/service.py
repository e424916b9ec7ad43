"""A service of another server's protocol, on the port of our own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service beside ours, under the name that its clients know.

    Attributes:
        name: with its package.
        requests: the kind of message that each method takes; its package may be another one than the service's.
        handlers: what answers each method.
    """

    name: str
    requests: Mapping[str, Descriptor]
    handlers: "Mapping[str, grpc.RpcMethodHandler[Any, Any]]"

    @property
    def kinds(self) -> Mapping[str, Descriptor]:
        """What each method takes, by "package.Service/Method"."""
        return {f"{self.name}/{method}": kind for method, kind in self.requests.items()}
