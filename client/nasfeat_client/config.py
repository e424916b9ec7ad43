"""How a client speaks to its server."""

import enum
from dataclasses import dataclass, field

import grpc

_MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepaliveConfig:
    """How a connection that died without a word is noticed. Pings are sent only while a call is under way.

    Attributes:
        interval_s: seconds without traffic before a ping, 30 or more: servers send away clients that ping oftener.
        timeout_s: seconds without an answer after which the connection is given up.
    """

    interval_s: float = 30.0
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if self.interval_s < 30:
            raise ValueError(f"interval_s is {self.interval_s:g}; it must be 30 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryConfig:
    """How often a call that the server refused, or that did not reach it, is tried again by gRPC itself.

    That holds for calls and for the opening of streams; a stream that was granted is resumed, see `ResumeConfig`. The
    server's own word on when to come again goes before the pauses given here.

    Attributes:
        max_attempts: how often in all, 1 to 5; 1 never tries again.
        first_pause_s: seconds before the second attempt, at most; each further one may wait twice as long.
        longest_pause_s: where that ends.
    """

    max_attempts: int = 4
    first_pause_s: float = 0.2
    longest_pause_s: float = 5.0

    def __post_init__(self) -> None:
        # gRPC takes more than five for five.
        if not 1 <= self.max_attempts <= 5:
            raise ValueError(f"max_attempts is {self.max_attempts}; it must be 1 to 5")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeConfig:
    """How a stream goes on when its server is lost: it is opened again, and the frames without an answer are resent.

    Attributes:
        give_up_after_s: seconds without any answer after which the stream fails; 0 fails at once.
        first_pause_s: seconds before the first attempt, at most; each further one may wait twice as long.
        longest_pause_s: where that ends.
        other_versions: go on with another version of the model, as when an operator replaces it: each result's identity
            says which made it, and their vectors do not compare. Otherwise the stream then ends with an error.
    """

    give_up_after_s: float = 60.0
    first_pause_s: float = 0.1
    longest_pause_s: float = 2.0
    other_versions: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """How a server proves who it is, and the client to it. All files are PEM, given as their bytes.

    Attributes:
        root_certificates: who is trusted to sign servers' certificates; None means whom gRPC trusts.
        certificate_chain: the client's own certificate, for servers that ask for one.
        private_key: its key.
        server_name: the name in the server's certificate, if it is not that of the target.
    """

    root_certificates: bytes | None = None
    certificate_chain: bytes | None = None
    private_key: bytes | None = field(default=None, repr=False)
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate_chain is None) != (self.private_key is None):
            raise ValueError("certificate_chain and private_key are given together or not at all")


class Compression(enum.Enum):
    """How messages are compressed on their way: worth while for raw pixels on slow networks, not for image files."""

    NONE = grpc.Compression.NoCompression
    DEFLATE = grpc.Compression.Deflate
    GZIP = grpc.Compression.Gzip


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """What a client is configured with; nothing is read from the environment.

    Attributes:
        tls: how servers are trusted; None speaks in the clear.
        model: the version that every call and stream asks for: "stable", "canary" or a version's name; "" leaves the
            choice to the server.
        token: sent with every call as `authorization: Bearer TOKEN`; never in the clear over a network.
        compression: of what is sent.
        connections: connections to each server, 1 or more: one carries some gigabits a second, and all that its server
            has on it ends with it.
        max_message_bytes: bytes of one gRPC message, either way. The default fits an image or answer of 64 MiB.
        window: frames in flight to ask for on each stream; None leaves it to the server.
        call_timeout_s: seconds that a call, or the opening of a stream, may take; None means for ever.
        keepalive: how a dead connection is noticed.
        retry: how often what the server refuses is tried again.
        resume: how streams outlive their server.
        tracing: make a span of each call and frame with OpenTelemetry, in the trace that the program is in then, and
            tell servers; needs the extra `otel` and does nothing until the program sets a tracer provider up.
    """

    tls: TlsConfig | None = None
    model: str = ""
    token: str | None = field(default=None, repr=False)
    compression: Compression = Compression.NONE
    connections: int = 1
    max_message_bytes: int = 65 * _MIB
    window: int | None = None
    call_timeout_s: float | None = 60.0
    keepalive: KeepaliveConfig = field(default_factory=KeepaliveConfig)
    retry: RetryConfig = field(default_factory=RetryConfig)
    resume: ResumeConfig = field(default_factory=ResumeConfig)
    tracing: bool = False

    def __post_init__(self) -> None:
        if self.connections < 1:
            raise ValueError(f"connections is {self.connections}; it must be 1 or more")
