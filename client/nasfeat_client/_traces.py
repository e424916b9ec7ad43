"""Tracing, where a client wants it: nothing of OpenTelemetry is imported otherwise."""

from typing import TYPE_CHECKING

from nasfeat_client.config import ClientConfig

if TYPE_CHECKING:
    from nasfeat_client._tracing import Tracing


def tracing_of(config: ClientConfig) -> "Tracing | None":
    """Prepare tracing; None if there is to be none.

    Raises:
        ModuleNotFoundError: OpenTelemetry is not installed.
    """
    if not config.tracing:
        return None
    try:
        from nasfeat_client._tracing import Tracing  # noqa: PLC0415 - brings OpenTelemetry
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("ClientConfig.tracing needs OpenTelemetry: pip install 'nasfeat[otel]'") from error
    return Tracing()
