"""The server's configuration: small frozen values, checked where they are made, constructed by the command line."""

from nasfeat_server.config.endpoint import Endpoint
from nasfeat_server.config.facades import Facade
from nasfeat_server.config.limits import ConnectionLimits, RequestLimits
from nasfeat_server.config.ray import RayConfig
from nasfeat_server.config.security import SecurityConfig
from nasfeat_server.config.server import ServerConfig
from nasfeat_server.config.status import StatusPage
from nasfeat_server.config.tracing import TracingConfig

__all__ = [
    "ConnectionLimits",
    "Endpoint",
    "Facade",
    "RayConfig",
    "RequestLimits",
    "SecurityConfig",
    "ServerConfig",
    "StatusPage",
    "TracingConfig",
]
