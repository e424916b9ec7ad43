"""The connection to one server."""

import json

import grpc.aio

from nasfeat_client.config import ClientConfig, RetryConfig

_RETRY_BUFFER_BYTES = 2**20
_OF_THIS_MACHINE = ("localhost:", "127.", "[::1]", "ipv4:127.", "ipv6:[::1]", "unix:", "unix-abstract:")


def open_channel(target: str, config: ClientConfig) -> grpc.aio.Channel:
    """Prepare a connection for the running event loop; it is made by the first call."""
    options, compression = _options(config), config.compression.value
    if config.tls:
        tls = config.tls
        credentials = grpc.ssl_channel_credentials(tls.root_certificates, tls.private_key, tls.certificate_chain)
        return grpc.aio.secure_channel(target, credentials, options=options, compression=compression)
    return grpc.aio.insecure_channel(target, options=options, compression=compression)


def check_secrecy(target: str, config: ClientConfig) -> None:
    """Do nothing if what is secret stays so.

    Raises:
        ValueError: a token would leave this machine in the clear.
    """
    if config.token and not config.tls and not target.startswith(_OF_THIS_MACHINE):
        raise ValueError(f"a token would travel to {target} in the clear; use TLS, or a proxy on this machine")


def metadata_of(config: ClientConfig) -> tuple[tuple[str, str], ...]:
    """Give what every call says beside its request."""
    return (("authorization", f"Bearer {config.token}"),) if config.token else ()


def _options(config: ClientConfig) -> tuple[tuple[str, int | str], ...]:
    keepalive = config.keepalive
    name = config.tls.server_name if config.tls else None
    return (
        *((("grpc.ssl_target_name_override", name),) if name else ()),
        # Otherwise all connections of a process to one server are one.
        *((("grpc.use_local_subchannel_pool", 1),) if config.connections > 1 else ()),
        ("grpc.service_config", _service_config(config.retry)),
        # What is to be sent again is kept until then; an image larger than this is sent once.
        ("grpc.per_rpc_retry_buffer_size", _RETRY_BUFFER_BYTES),
        # A server that restarts is found within seconds: gRPC's own longest pause is two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.max_send_message_length", config.max_message_bytes),
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.keepalive_time_ms", round(keepalive.interval_s * 1000)),
        ("grpc.keepalive_timeout_ms", round(keepalive.timeout_s * 1000)),
        ("grpc.keepalive_permit_without_calls", 0),
        # Without this, gRPC stops pinging a quiet stream after two pings.
        ("grpc.http2.max_pings_without_data", 0),
    )


def _service_config(retry: RetryConfig) -> str:
    """Describe the retries as gRPC's A6 wants it; one attempt is no policy."""
    policy = {
        "maxAttempts": retry.max_attempts,
        "initialBackoff": f"{retry.first_pause_s}s",
        "maxBackoff": f"{retry.longest_pause_s}s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["RESOURCE_EXHAUSTED", "UNAVAILABLE"],
    }
    methods = [{"name": [{"service": "nasfeat.v1.FeatureService"}], "retryPolicy": policy}]
    return json.dumps({"methodConfig": methods if retry.max_attempts > 1 else []})
