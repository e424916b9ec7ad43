"""From the values of the options to the server's configuration."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from nasfeat_server.app.replicas import RAY, ray_devices
from nasfeat_server.cli.settings.engine import device_names
from nasfeat_server.config import (
    ConnectionLimits,
    RayConfig,
    RequestLimits,
    SecurityConfig,
    ServerConfig,
    StatusPage,
    TracingConfig,
)
from nasfeat_server.config.facades import facades_of
from nasfeat_server.engine.cores import usable_cores
from nasfeat_server.errors import InvalidSettingsError

_MIB = 2**20
_LARGEST_BATCH = {"cpu": 4, "gpu": 32}
_DEFAULTS = ServerConfig()

OPTION_OF_FIELD: Mapping[str, str] = MappingProxyType(
    {"max_batch_size": "max_batch", "cache_bytes": "cache_mib", "max_image_bytes": "max_image_mib"}
    | {"max_result_bytes": "max_result_mib", "grace_s": "grace", "hang_s": "hang", "outage_s": "outage"}
    | {"address": "ray_address", "tls_certificate": "tls_cert", "endpoint": "trace_endpoint"}
)
"""The options whose names are not those of the configuration's fields."""


_Part = TypeVar("_Part")


def server_config(
    *,
    devices: str,
    max_batch: int | None,
    slots: int | None,
    grace: float,
    hang: float,
    outage: float,
    cache_mib: int,
    status_page: str,
    **options: Any,
) -> ServerConfig:
    """Make the configuration.

    Raises:
        InvalidSettingsError: values are out of bounds or do not go together; it names all.
    """
    # The log is not the server's to configure.
    del options["log_level"], options["log_format"]
    wrong: list[tuple[str, str]] = []
    ray = _made(wrong, functools.partial(RayConfig, **_ray(options))) or RayConfig()
    names, kind = _devices(devices, options, ray)
    options["front_ends"] = _front_ends(options["front_ends"], names, usable_cores().count)
    size = max_batch or _LARGEST_BATCH.get(kind, 4)
    security = _made(wrong, functools.partial(SecurityConfig, **_security(options))) or SecurityConfig()
    tracing = _made(wrong, functools.partial(TracingConfig, **_tracing(options))) or TracingConfig()
    config = _made(
        wrong,
        functools.partial(
            ServerConfig,
            ray=dataclasses.replace(ray, slots_per_replica=0 if slots or names else 4 * size),
            devices=names,
            max_batch_size=size,
            slots=slots or max(_DEFAULTS.slots, 4 * size * len(names)),
            limits=_limits(options),
            connections=_connections(options),
            security=security,
            tracing=tracing,
            grace_s=grace,
            hang_s=hang,
            outage_s=outage,
            cache_bytes=cache_mib * _MIB,
            status_page=StatusPage(status_page),
            facades=facades_of(options.pop("facades")),
            **options,
        ),
    )
    if config is None or wrong:
        raise InvalidSettingsError(wrong)
    return config


def _front_ends(wanted: int | str, devices: Sequence[str], cores: int) -> int:
    """Of "auto", make one for each GPU, as far as there are two cores for each; processors compute on the cores."""
    if isinstance(wanted, int):
        return wanted
    gpus = sum(device.startswith("gpu:") for device in devices)
    return max(1, min(gpus, cores // 2))


def _made(wrong: list[tuple[str, str]], make: Callable[[], _Part]) -> _Part | None:
    """Make a part of the configuration; what is wrong with it is noted, so that other parts are looked at too."""
    try:
        return make()
    except InvalidSettingsError as error:
        wrong += error.wrong
        return None


def _limits(options: dict[str, Any]) -> RequestLimits:
    """Take the limits out of `options`."""
    return RequestLimits(
        max_image_bytes=options.pop("max_image_mib") * _MIB,
        max_image_pixels=options.pop("max_image_pixels"),
        max_images_per_call=options.pop("max_images_per_call"),
        max_result_bytes=options.pop("max_result_mib") * _MIB,
        max_window=options.pop("max_window"),
        max_streams=options.pop("max_streams"),
        max_waiting_images=options.pop("max_waiting_images"),
    )


def _devices(devices: str, options: dict[str, Any], ray: RayConfig) -> tuple[tuple[str, ...], str]:
    """Name what computes, and the kind of its first; takes the number of replicas out of `options`."""
    replicas = options.pop("replicas") or 0
    if options["executor"] == RAY:
        return ray_devices(replicas), ray.kind
    names = device_names(devices)
    return names, names[0].partition(":")[0]


def _ray(options: dict[str, Any]) -> dict[str, Any]:
    """Take the cluster out of `options`."""
    asked = ("replica_gpus", "replica_cpus", "min_replicas", "keep_replicas", "scale_up_after_s", "scale_down_after_s")
    return {"address": options.pop("ray_address"), **{name: options.pop(name) for name in asked}}


def _connections(options: dict[str, Any]) -> ConnectionLimits:
    """Take the limits of connections out of `options`, whose own bounds leave nothing to refuse."""
    return ConnectionLimits(
        max_age_s=options.pop("max_connection_age"),
        age_grace_s=options.pop("connection_grace"),
        max_idle_s=options.pop("max_connection_idle"),
        max_calls=options.pop("max_calls_per_connection"),
        keepalive_s=options.pop("keepalive"),
        keepalive_timeout_s=options.pop("keepalive_timeout"),
    )


def _security(options: dict[str, Any]) -> dict[str, Any]:
    """Take who may use the server out of `options`."""
    return {
        "tls_certificate": options.pop("tls_cert"),
        **{name: options.pop(name) for name in ("tls_key", "tls_client_ca", "tokens", "user", "allow_root")},
    }


def _tracing(options: dict[str, Any]) -> dict[str, Any]:
    """Take what is traced out of `options`."""
    return {name: options.pop(f"trace_{name}") for name in ("endpoint", "ratio", "limit")}
