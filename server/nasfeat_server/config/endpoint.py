"""Addresses."""

import ipaddress
from dataclasses import dataclass

from nasfeat_server.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where to listen: "HOST:PORT", port 0 for any free one; an IPv6 host stands in brackets."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """Read "HOST:PORT".

        Raises:
            ConfigurationError: `text` is something else.
        """
        host, colon, port = text.rpartition(":")
        if not (colon and host and port.isdecimal() and int(port) < 2**16):
            raise ConfigurationError(f"{text!r} is not HOST:PORT with a port of 0 to 65535")
        return cls(host=host.strip("[]"), port=int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it; of the name of a machine nobody knows."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        """Give "HOST:PORT" back."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
