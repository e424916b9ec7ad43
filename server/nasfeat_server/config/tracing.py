"""Where traces go, and of how much there are any."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from nasfeat_server.config.checks import refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingConfig:
    """How calls and images are traced.

    Attributes:
        endpoint: the collector that takes spans as OTLP over gRPC, "http://HOST:PORT" or "https://HOST:PORT"; None
            traces nothing.
        ratio: the part of what no client has decided about that is traced, from 0 to 1.
        limit: calls and images a second that are traced at most, whoever wants them to be.
    """

    endpoint: str | None = None
    ratio: float = 0.01
    limit: float = 200.0

    def __post_init__(self) -> None:
        """Refuse what cannot work, all at once.

        Raises:
            ConfigurationError: names every setting that is wrong, and what is allowed.
        """
        endpoint = self.endpoint
        refuse(
            (
                "endpoint",
                endpoint is not None and not _is_collector(endpoint),
                f"a collector is http://HOST:PORT or https://HOST:PORT, not {endpoint!r}",
            ),
            ("ratio", not 0 <= self.ratio <= 1, f"a part is from 0 to 1, not {self.ratio:g}"),
            ("limit", self.limit <= 0, "what is traced at most must be over 0 a second"),
        )


def _is_collector(url: str) -> bool:
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname and parts.port)
    except ValueError:
        # The port is no number, or brackets do not close.
        return False
    return named and parts.scheme in {"http", "https"} and parts.path in {"", "/"} and "@" not in parts.netloc
