"""What a browser gets at the metrics port."""

from enum import StrEnum

from nasfeat_server.config.endpoint import Endpoint


class StatusPage(StrEnum):
    """How much of the status page is served: nothing, all but the try-it panel, or that too.

    AUTO is TRY where only this machine reaches the metrics port, and OFF elsewhere.
    """

    AUTO = "auto"
    OFF = "off"
    VIEW = "view"
    TRY = "try"

    def at(self, metrics: Endpoint) -> "StatusPage":
        """Say what it comes to where metrics are served at `metrics`: one of the others than AUTO."""
        if self is not StatusPage.AUTO:
            return self
        return StatusPage.TRY if metrics.is_loopback else StatusPage.OFF
