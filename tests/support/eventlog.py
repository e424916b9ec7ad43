"""An observer that keeps what it is told."""

from nasfeat_server.telemetry.events import Event


class EventLog:
    """Keeps every event, in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def observe(self, event: Event) -> None:
        """Keep `event`."""
        self.events.append(event)
