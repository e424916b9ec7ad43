"""The connection to one server."""

import json
from typing import Any

import grpc.aio

from nasfeat_client._names import Place
from nasfeat_client.config import ClientConfig, RetryConfig

_RETRY_BUFFER_BYTES = 2**20
_OF_THIS_MACHINE = ("localhost:", "127.", "[::1]", "ipv4:127.", "ipv6:[::1]", "unix:", "unix-abstract:")
# gRPC watches the health of servers (gRFC A17), though not with its default policy.
_HEALTH = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": "nasfeat.v1.FeatureService"},
}


def open_channel(place: Place, config: ClientConfig, *, one_of_several: bool) -> grpc.aio.Channel:
    """Prepare a connection for the running event loop; it is made by the first call.

    Args:
        place: where the server is.
        config: how to speak to it.
        one_of_several: fail at once while the server says that it does not serve: another one may.
    """
    target, compression = place.target, config.compression.value
    options = (*_options(config, one_of_several=one_of_several), *_names_of(place, config))
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
    if config.token and not config.tls and not all(map(_is_here, target.split(","))):
        raise ValueError(f"a token would travel to {target} in the clear; use TLS, or a proxy on this machine")


def metadata_of(config: ClientConfig) -> tuple[tuple[str, str], ...]:
    """Give what every call says beside its request."""
    return (("authorization", f"Bearer {config.token}"),) if config.token else ()


def _is_here(target: str) -> bool:
    return target.removeprefix("dns:///").startswith(_OF_THIS_MACHINE)


def _names_of(place: Place, config: ClientConfig) -> tuple[tuple[str, str], ...]:
    """Say who the server is to be, where its target does not say."""
    name = (config.tls and config.tls.server_name) or place.name.rpartition(":")[0]
    return (
        *((("grpc.ssl_target_name_override", name),) if name and config.tls else ()),
        *((("grpc.default_authority", place.name),) if place.name else ()),
    )


def _options(config: ClientConfig, *, one_of_several: bool) -> tuple[tuple[str, int | str], ...]:
    keepalive = config.keepalive
    return (
        # Otherwise all connections of a process to one server are one.
        *((("grpc.use_local_subchannel_pool", 1),) if config.connections > 1 else ()),
        ("grpc.service_config", json.dumps(_retries(config.retry) | (_HEALTH if one_of_several else {}))),
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


def _retries(retry: RetryConfig) -> dict[str, Any]:
    """Describe the retries as gRPC's A6 wants it; one attempt is no policy."""
    policy = {
        "maxAttempts": retry.max_attempts,
        "initialBackoff": f"{retry.first_pause_s}s",
        "maxBackoff": f"{retry.longest_pause_s}s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["RESOURCE_EXHAUSTED", "UNAVAILABLE"],
    }
    methods = [{"name": [{"service": "nasfeat.v1.FeatureService"}], "retryPolicy": policy}]
    return {"methodConfig": methods if retry.max_attempts > 1 else []}
