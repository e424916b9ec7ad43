"""Tracing, if the operator wants it: nothing of OpenTelemetry is imported otherwise."""

import importlib.util
from typing import TYPE_CHECKING

from nasfeat_server.config import TracingConfig
from nasfeat_server.errors import ConfigurationError

if TYPE_CHECKING:
    from nasfeat_server.telemetry.tracing import Tracing


FLUSH_S = 3.0
"""For spans that a collector has not taken when the process ends."""


def tracing_of(config: TracingConfig) -> "Tracing | None":
    """Prepare the tracing of calls to this process; None if there is to be none.

    Raises:
        ConfigurationError: its libraries are not installed.
    """
    if config.endpoint is None:
        return None
    check_installed()
    from nasfeat_server.telemetry.tracing import Tracing  # noqa: PLC0415 - brings OpenTelemetry

    return Tracing(config)


def check_installed() -> None:
    """Do nothing if there is what traces are made with.

    Raises:
        ConfigurationError: it is not there.
    """
    try:
        there = importlib.util.find_spec("opentelemetry.exporter.otlp.proto.grpc")
    except ModuleNotFoundError:
        there = None
    if not there:
        raise ConfigurationError("tracing needs OpenTelemetry, which is not installed: pip install 'nasfeat[otel]'")
