"""What requests may ask for, and how long connections last."""

from dataclasses import dataclass

from nasfeat_server.config.checks import refuse

MIB = 2**20
"""Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """What one image, call or stream may ask for.

    Attributes:
        max_image_bytes: bytes of one image, encoded or raw.
        max_image_pixels: height x width of one image.
        max_images_per_call: images in one ExtractFeatures call.
        max_window: frames in flight on one stream.
        max_result_bytes: bytes of all outputs of one image together.
        max_waiting_images: images of unary calls that may wait for a slot before further ones are refused.
        max_streams: streams open at once.
    """

    max_image_bytes: int = 64 * MIB
    max_image_pixels: int = 50_000_000
    max_images_per_call: int = 32
    max_window: int = 32
    max_result_bytes: int = 32 * MIB
    max_waiting_images: int = 256
    max_streams: int = 1024

    @property
    def max_held_bytes(self) -> int:
        """Bytes of results that one stream may have in flight; its window shrinks to that."""
        return 4 * self.max_result_bytes

    @property
    def max_message_bytes(self) -> int:
        """Bytes of one gRPC message: the largest image or result and what goes with it."""
        return max(self.max_image_bytes, self.max_result_bytes) + MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """How long a client's connection may last, and what it may carry at once.

    Attributes:
        max_age_s: seconds after which a connection takes no new calls, so that clients behind a balancer spread anew
            and certificates are shown again; 0 for no end.
        age_grace_s: seconds that its calls then have left, before they are cut off.
        max_idle_s: seconds without a call after which a connection is closed; 0 for never.
        max_calls: calls and streams under way on one connection; a client's further ones wait at the client.
        keepalive_s: seconds without a word from a client after which it is asked for a sign of life.
        keepalive_timeout_s: seconds without that sign after which the connection is given up.
    """

    max_age_s: float = 0.0
    age_grace_s: float = 30.0
    max_idle_s: float = 0.0
    max_calls: int = 1024
    keepalive_s: float = 30.0
    keepalive_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        """Refuse what cannot work, all at once.

        Raises:
            ConfigurationError: names every setting that is wrong, and what is allowed.
        """
        refuse(
            ("max_age_s", self.max_age_s < 0, "a connection's age must be 0 seconds, for no end, or more"),
            ("age_grace_s", self.age_grace_s <= 0, "the calls of a connection that ends must have over 0 seconds left"),
            ("max_idle_s", self.max_idle_s < 0, "a connection's idle time must be 0 seconds, for no end, or more"),
            ("max_calls", self.max_calls < 1, "a connection must be allowed 1 call or more"),
            ("keepalive_s", self.keepalive_s <= 0, "the time until a ping must be over 0 seconds"),
            ("keepalive_timeout_s", self.keepalive_timeout_s <= 0, "the time for its answer must be over 0 seconds"),
        )
