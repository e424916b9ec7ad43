"""The server's configuration: small frozen values, checked where they are made, constructed by the command line."""

from dataclasses import dataclass, field
from pathlib import Path

from nasfeat_server.errors import ConfigurationError, InvalidSettingsError

_MIB = 2**20


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

    def __str__(self) -> str:
        """Give "HOST:PORT" back."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


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

    max_image_bytes: int = 64 * _MIB
    max_image_pixels: int = 50_000_000
    max_images_per_call: int = 32
    max_window: int = 32
    max_result_bytes: int = 32 * _MIB
    max_waiting_images: int = 256
    max_streams: int = 1024

    @property
    def max_held_bytes(self) -> int:
        """Bytes of results that one stream may have in flight; its window shrinks to that."""
        return 4 * self.max_result_bytes

    @property
    def max_message_bytes(self) -> int:
        """Bytes of one gRPC message: the largest image or result and what goes with it."""
        return max(self.max_image_bytes, self.max_result_bytes) + _MIB


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
        _refuse(
            ("max_age_s", self.max_age_s < 0, "a connection's age must be 0 seconds, for no end, or more"),
            ("age_grace_s", self.age_grace_s <= 0, "the calls of a connection that ends must have over 0 seconds left"),
            ("max_idle_s", self.max_idle_s < 0, "a connection's idle time must be 0 seconds, for no end, or more"),
            ("max_calls", self.max_calls < 1, "a connection must be allowed 1 call or more"),
            ("keepalive_s", self.keepalive_s <= 0, "the time until a ping must be over 0 seconds"),
            ("keepalive_timeout_s", self.keepalive_timeout_s <= 0, "the time for its answer must be over 0 seconds"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityConfig:
    """Who may use the server, and as whom it runs.

    Attributes:
        tls_certificate: the server's certificate and those between it and its authority, PEM; None speaks in the clear.
        tls_key: its private key, PEM.
        tls_client_ca: the authorities of clients' certificates, PEM; None asks clients for none.
        tokens: the file of tenants and their tokens; None lets everybody in.
        user: "NAME[:GROUP]", whom the process becomes once its ports are bound; None stays who it is.
        allow_root: serve other machines as root.
    """

    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    tokens: Path | None = None
    user: str | None = None
    allow_root: bool = False

    def __post_init__(self) -> None:
        """Refuse what does not belong together.

        Raises:
            ConfigurationError: the key, the certificate or both are missing.
        """
        _refuse(
            (
                "tls_key" if self.tls_certificate else "tls_certificate",
                (self.tls_certificate is None) != (self.tls_key is None),
                "the certificate and the key of TLS are given together or not at all",
            ),
            (
                "tls_client_ca",
                bool(self.tls_client_ca and not self.tls_certificate),
                "clients can be asked for certificates only by a server that has one",
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Everything that `nasfeat_server.app` needs to know.

    Attributes:
        variant: a key of `nasfeat_server.network.spec.VARIANTS` or the path of a spec; None takes the module's own, or
            "large" where the weights do not say.
        weights: a weights source.
        keras_wiring: pool as keras.applications does.
        run_module_graph: run the graph that the weights' module brings, in place of our own.
        cache: where downloads are kept; None for the user's cache directory.
        model_version: the operator's name for the weights, told in every result.
        engine: one of `nasfeat_server.engine.choice.ENGINES`, or "auto" for the fastest that there is.
        precision: the arithmetic; one of `nasfeat_server.engine.choice.PRECISIONS`.
        precision_floor: the mean cosine to fp32's feature vectors below which the server refuses to start.
        calibration: a folder of pictures to calibrate another precision with and to hold it against fp32 on.
        xla: let TensorFlow compile its graph with XLA.
        crop: how pictures are brought to the network's proportions; see `nasfeat_server.imaging.framing.Framing.parse`.
        devices: names like "cpu:0" and "gpu:1"; one replica each.
        listen: where gRPC is served.
        metrics: where Prometheus metrics are served over HTTP.
        max_batch_size: the largest batch, a power of two.
        slots: places of the arena: images decoded and not yet computed, over all streams.
        limits: what a request may ask for.
        connections: how long connections may last, and what one may carry.
        security: who may use the server, and as whom it runs.
        grace_s: seconds that work in flight may take after SIGTERM.
        hang_s: seconds without an answer after which a replica is killed and restarted.
        start_limit_s: seconds without progress after which a replica that starts is killed and started again.
        quarantine_after: deaths of a device's replicas, none of which lived for a minute, after which it is left alone.
        quarantine_s: seconds for which it is.
        outage_s: seconds without any replica after which the images that wait are given up.
        single_flight: compute an image once while the same image is on its way.
        cache_bytes: recent results to keep for images that come again; 0 keeps none.
        control: the socket on which the operator gives orders; None has none.
    """

    variant: str | None = None
    weights: str = "published"
    keras_wiring: bool = False
    run_module_graph: bool = False
    cache: Path | None = None
    model_version: str = "1"
    engine: str = "auto"
    precision: str = "fp32"
    precision_floor: float = 0.995
    calibration: Path | None = None
    xla: bool = False
    crop: str = "stretch"
    devices: tuple[str, ...] = ("cpu:0",)
    listen: Endpoint = Endpoint(host="127.0.0.1", port=50051)
    metrics: Endpoint = Endpoint(host="127.0.0.1", port=9464)
    max_batch_size: int = 4
    slots: int = 64
    limits: RequestLimits = field(default_factory=RequestLimits)
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    security: SecurityConfig = field(default_factory=SecurityConfig)
    grace_s: float = 30.0
    hang_s: float = 120.0
    start_limit_s: float = 600.0
    quarantine_after: int = 5
    quarantine_s: float = 300.0
    outage_s: float = 60.0
    single_flight: bool = True
    cache_bytes: int = 0
    control: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work, all at once.

        Raises:
            ConfigurationError: names every setting that is wrong, and what is allowed.
        """
        size, limits = self.max_batch_size, self.limits
        _refuse(
            (
                "max_batch_size",
                size < 1 or size & (size - 1) > 0,
                f"the largest batch must be a power of two, not {size}",
            ),
            ("slots", self.slots < size, f"there must be a slot for each image of the largest batch, {size}"),
            ("max_window", limits.max_window < 1, "a stream's window must be 1 frame or more"),
            (
                "max_result_bytes",
                limits.max_result_bytes < _MIB,
                "the outputs of one image must be allowed 1 MiB or more",
            ),
            ("max_streams", limits.max_streams < 1, "there must be room for 1 stream or more"),
            (
                "max_waiting_images",
                limits.max_waiting_images < 0,
                "the images of calls that may wait must be 0 or more",
            ),
            ("grace_s", self.grace_s < 0, "the grace must be 0 seconds or more"),
            ("hang_s", self.hang_s <= 0, "the time after which a replica counts as hung must be over 0 seconds"),
            ("start_limit_s", self.start_limit_s <= 0, "the time that a start may take must be over 0 seconds"),
            (
                "quarantine_after",
                self.quarantine_after < 1,
                "a device must be allowed 1 death or more before its quarantine",
            ),
            ("quarantine_s", self.quarantine_s < 0, "the quarantine must be 0 seconds or more"),
            ("outage_s", self.outage_s <= 0, "the time after which an outage is told must be over 0 seconds"),
            (
                "calibration",
                self.precision != "fp32" and self.calibration is None,
                f"{self.precision} is held against fp32 on pictures: name a folder of your own with --calibration",
            ),
            (
                "precision_floor",
                not 0 <= self.precision_floor <= 1,
                "the floor of a precision must be a cosine from 0 to 1",
            ),
            ("cache_bytes", self.cache_bytes < 0, "the cache must have 0 bytes or more"),
        )

    @property
    def batch_buckets(self) -> tuple[int, ...]:
        """The batch sizes to prepare: the powers of two up to the largest."""
        return tuple(1 << power for power in range(self.max_batch_size.bit_length()))


def _refuse(*checks: tuple[str, bool, str]) -> None:
    """Raise what is wrong, if anything is: of each field whether it fails, and what is allowed."""
    wrong = tuple((field, message) for field, fails, message in checks if fails)
    if wrong:
        raise InvalidSettingsError(wrong)
