"""The whole of it."""

from dataclasses import dataclass, field
from pathlib import Path

from nasfeat_server.config.checks import refuse
from nasfeat_server.config.endpoint import Endpoint
from nasfeat_server.config.facades import Facade
from nasfeat_server.config.limits import MIB, ConnectionLimits, RequestLimits
from nasfeat_server.config.ray import RayConfig
from nasfeat_server.config.security import SecurityConfig
from nasfeat_server.config.status import StatusPage
from nasfeat_server.config.tracing import TracingConfig

_LISTEN = Endpoint(host="127.0.0.1", port=50051)
_MOST_FRONT_ENDS = 64
# Ports below are root's.
_FREE_PORTS = 1024
_METRICS = Endpoint(host="127.0.0.1", port=9464)


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
        model_alias: a name that the model has beside its own; None for no other.
        engine: one of `nasfeat_server.engine.choice.ENGINES`, or "auto" for the fastest that there is.
        precision: the arithmetic; one of `nasfeat_server.engine.choice.PRECISIONS`.
        precision_floor: the mean cosine to fp32's feature vectors below which the server refuses to start.
        calibration: a folder of pictures to calibrate another precision with and to hold it against fp32 on.
        xla: let TensorFlow compile its graph with XLA.
        crop: how pictures are brought to the network's proportions; see `nasfeat_server.imaging.framing.Framing.parse`.
        executor: where replicas run: "local", or "ray" for the nodes of a Ray cluster.
        ray: the cluster.
        devices: names like "cpu:0" and "gpu:1"; one replica each. On a Ray cluster "ray:0" and so on, which say nothing
            of the node; none stands for as many as the cluster has room for.
        listen: where gRPC is served.
        facades: the protocols of other servers that are spoken there, too.
        front_ends: processes that take calls; 1 is this one.
        metrics: where Prometheus metrics are served over HTTP.
        status_page: what browsers get there.
        max_batch_size: the largest batch, a power of two.
        slots: places of the arena: images decoded and not yet computed, over all streams.
        limits: what a request may ask for.
        connections: how long connections may last, and what one may carry.
        security: who may use the server, and as whom it runs.
        tracing: what is traced, and where traces go.
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
    model_alias: str | None = None
    engine: str = "auto"
    precision: str = "fp32"
    precision_floor: float = 0.995
    calibration: Path | None = None
    xla: bool = False
    crop: str = "stretch"
    executor: str = "local"
    ray: RayConfig = field(default_factory=RayConfig)
    devices: tuple[str, ...] = ("cpu:0",)
    listen: Endpoint = _LISTEN
    facades: tuple[Facade, ...] = tuple(Facade)
    front_ends: int = 1
    metrics: Endpoint = _METRICS
    status_page: StatusPage = StatusPage.AUTO
    max_batch_size: int = 4
    slots: int = 64
    limits: RequestLimits = field(default_factory=RequestLimits)
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    security: SecurityConfig = field(default_factory=SecurityConfig)
    tracing: TracingConfig = field(default_factory=TracingConfig)
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
        refuse(
            (
                "max_batch_size",
                size < 1 or size & (size - 1) > 0,
                f"the largest batch must be a power of two, not {size}",
            ),
            ("slots", self.slots < size, f"there must be a slot for each image of the largest batch, {size}"),
            ("max_window", limits.max_window < 1, "a stream's window must be 1 frame or more"),
            (
                "max_result_bytes",
                limits.max_result_bytes < MIB,
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
            *self._front_end_checks(),
            ("cache_bytes", self.cache_bytes < 0, "the cache must have 0 bytes or more"),
        )

    def _front_end_checks(self) -> tuple[tuple[str, bool, str], ...]:
        as_root = self.security.user is not None and 0 < self.listen.port < _FREE_PORTS
        return (
            (
                "front_ends",
                not 1 <= self.front_ends <= _MOST_FRONT_ENDS,
                f"there can be 1 to {_MOST_FRONT_ENDS} front ends",
            ),
            (
                "user",
                self.front_ends > 1 and as_root,
                f"front ends are started after root's rights are given up: listen on {_FREE_PORTS} or above",
            ),
        )

    @property
    def computed_on(self) -> tuple[str, ...]:
        """What there is to compute on, named as the devices of one machine are."""
        return (f"{self.ray.kind}:0",) if self.executor == "ray" else self.devices

    @property
    def batch_buckets(self) -> tuple[int, ...]:
        """The batch sizes to prepare: the powers of two up to the largest."""
        return tuple(1 << power for power in range(self.max_batch_size.bit_length()))
