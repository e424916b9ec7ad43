"""What a tenant has under way, over all its calls: frames at its rate, and open streams."""

from typing import Protocol

from nasfeat_server.errors import OverloadedError
from nasfeat_server.scheduling.interface import Metering
from nasfeat_server.scheduling.meter import Meter
from nasfeat_server.security.tokens import Quota


class Account(Protocol):
    """Of one tenant, wherever it is kept."""

    @property
    def meter(self) -> Metering:
        """Lets the tenant's frames through at its rate."""
        ...

    async def enter(self) -> None:
        """Count one more stream.

        Raises:
            OverloadedError: the tenant has as many as it may.
        """
        ...

    def leave(self) -> None:
        """Count one stream less."""
        ...

    def change(self, quota: Quota) -> None:
        """Go on with another quota; what is under way stays."""
        ...


class OwnAccount:
    """An `Account` that is kept in this process.

    Attributes:
        meter: lets frames through.
        streams: those that are open.
    """

    def __init__(self, name: str, quota: Quota) -> None:
        """Start with nothing under way, for the tenant `name`."""
        self.meter = Meter(quota.rate)
        self.streams = 0
        self._name = name
        self._quota = quota

    def __repr__(self) -> str:
        """Show what is under way."""
        return f"<OwnAccount {self._name} {self.streams} streams {self.meter}>"

    def enter_now(self) -> None:
        """Count one more stream.

        Raises:
            OverloadedError: the tenant has as many as it may.
        """
        limit = self._quota.max_streams
        if limit is not None and self.streams >= limit:
            raise OverloadedError(f"tenant {self._name} has {limit} streams open, which is its limit; try again later")
        self.streams += 1

    async def enter(self) -> None:
        """Do as `enter_now` does, without a turn of the loop."""
        self.enter_now()

    def leave(self) -> None:
        """Count one stream less."""
        self.streams -= 1

    def change(self, quota: Quota) -> None:
        """Go on with another quota; what is under way stays."""
        if quota.rate != self._quota.rate:
            self.meter.change(quota.rate)
        self._quota = quota
