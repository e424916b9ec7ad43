"""The connection to one server."""

import json

import grpc.aio

from nasfeat_client.config import ClientConfig, RetryConfig

_RETRY_BUFFER_BYTES = 2**20


def open_channel(target: str, config: ClientConfig) -> grpc.aio.Channel:
    """Prepare a connection for the running event loop; it is made by the first call."""
    return grpc.aio.insecure_channel(target, options=_options(config))


def _options(config: ClientConfig) -> tuple[tuple[str, int | str], ...]:
    keepalive = config.keepalive
    return (
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
