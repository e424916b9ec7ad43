"""What can be found wrong with a configuration without starting anything: what it names is looked at."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from nasfeat_server.app.replicas import RAY, check_ray
from nasfeat_server.app.tracing import check_installed
from nasfeat_server.cli.settings.build import OPTION_OF_FIELD
from nasfeat_server.config import Endpoint, ServerConfig
from nasfeat_server.engine.choice import choose_engine
from nasfeat_server.engine.cores import usable_cores
from nasfeat_server.engine.devices import available_devices, place
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.imaging.framing import Framing
from nasfeat_server.network.spec import find_spec
from nasfeat_server.security.check import problems, root_at_large

_PICTURES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"))


def problems_of(config: ServerConfig) -> list[str]:
    """Give everything that would keep a server from starting, for the operator."""
    return [problem for check in _CHECKS for problem in check(config)]


def _devices(config: ServerConfig) -> Iterator[str]:
    if config.executor == RAY:
        # Which devices a cluster has, it says when the server starts.
        yield from _refusal("--executor", check_ray)
        return
    yield from _refusal("--devices", lambda: place(config.devices, usable_cores()))
    there = available_devices()
    for device in config.devices:
        if device.startswith("gpu:") and device not in there:
            yield f"--devices: there is no {device} on this machine, only {', '.join(there)}"


def _engine(config: ServerConfig) -> Iterator[str]:
    yield from _refusal(
        "--engine",
        lambda: choose_engine(
            config.engine,
            devices=config.computed_on,
            precision=config.precision,
            run_module_graph=config.run_module_graph,
        ),
    )


def _model(config: ServerConfig) -> Iterator[str]:
    yield from _refusal("--crop", lambda: Framing.parse(config.crop))
    if config.variant:
        variant = config.variant
        yield from _refusal("--variant", lambda: find_spec(variant))
    weights = config.weights
    if weights.startswith(("/", "./", "../")) and not Path(weights).exists():
        yield f"--weights: there is nothing at {weights}"


def _folders(config: ServerConfig) -> Iterator[str]:
    if config.cache:
        yield from _writable("--cache", config.cache)
    if config.control:
        yield from _writable("--control", config.control.parent)
    if config.calibration:
        yield from _pictures(config.calibration)


def _pictures(folder: Path) -> Iterator[str]:
    if not any(path.suffix.lower() in _PICTURES for path in folder.rglob("*")):
        yield f"--calibration: there is no picture in {folder}"


def _addresses(config: ServerConfig) -> Iterator[str]:
    yield from _free("--listen", config.listen)
    yield from _free("--metrics", config.metrics)
    if config.listen == config.metrics and config.listen.port:
        yield f"--metrics: {config.metrics} is where gRPC is served, too; each needs a port of its own"


def _security(config: ServerConfig) -> Iterator[str]:
    for field, complaint in problems(config.security):
        yield f"--{OPTION_OF_FIELD.get(field, field).replace('_', '-')}: {complaint}"
    if complaint_of_root := root_at_large(config):
        yield complaint_of_root


def _tracing(config: ServerConfig) -> Iterator[str]:
    if config.tracing.endpoint is not None:
        yield from _refusal("--trace-endpoint", check_installed)


_CHECKS: tuple[Callable[[ServerConfig], Iterator[str]], ...] = (
    _devices,
    _engine,
    _model,
    _folders,
    _addresses,
    _security,
    _tracing,
)


def _refusal(option: str, check: Callable[[], object]) -> Iterator[str]:
    try:
        check()
    except ConfigurationError as error:
        yield f"{option}: {error}"


def _writable(option: str, folder: Path) -> Iterator[str]:
    """Look at `folder`, or at the folder in which it would be made."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not existing.is_dir():
        yield f"{option}: {existing} is no folder"
    elif not os.access(existing, os.W_OK | os.X_OK):
        yield f"{option}: this user may not write into {existing}"


def _free(option: str, endpoint: Endpoint) -> Iterator[str]:
    """Bind as the server would, and let go."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        yield f"{option}: {endpoint} cannot be listened on: {error.strerror or error}"
