"""The connection to one server."""

import grpc.aio

from nasfeat_client.config import ClientConfig


def open_channel(target: str, config: ClientConfig) -> grpc.aio.Channel:
    """Prepare a connection for the running event loop; it is made by the first call."""
    return grpc.aio.insecure_channel(target, options=_options(config))


def _options(config: ClientConfig) -> tuple[tuple[str, int], ...]:
    keepalive = config.keepalive
    return (
        ("grpc.max_send_message_length", config.max_message_bytes),
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.keepalive_time_ms", round(keepalive.interval_s * 1000)),
        ("grpc.keepalive_timeout_ms", round(keepalive.timeout_s * 1000)),
        ("grpc.keepalive_permit_without_calls", 0),
        # Without this, gRPC stops pinging a quiet stream after two pings.
        ("grpc.http2.max_pings_without_data", 0),
    )
