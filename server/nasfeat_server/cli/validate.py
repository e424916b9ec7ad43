"""`nasfeat-server validate`: whether a server would start so, and what its precision costs."""

import asyncio
from typing import Any

import click

from nasfeat_server.cli.settings.engine import ENGINE, device_names
from nasfeat_server.cli.settings.model import MODEL
from nasfeat_server.cli.settings.option import with_options
from nasfeat_server.config import ServerConfig
from nasfeat_server.engine.validating import validate as validate_config
from nasfeat_server.errors import ConfigurationError, ReplicaLostError
from nasfeat_server.telemetry import logging


@click.command
@with_options(MODEL)
@with_options(ENGINE)
def validate(*, devices: str, **options: Any) -> None:
    """Load what a server would serve, hold its precision against fp32, and say what came out.

    The exit code is 0 if a server with these options starts, and 2 if it refuses.
    """
    logging.configure("info")
    try:
        described = asyncio.run(validate_config(ServerConfig(devices=device_names(devices), **options)))
    except* (ConfigurationError, ReplicaLostError) as errors:
        raise click.UsageError(str(_first(errors))) from None
    kind = "trained" if described.trained else "UNTRAINED"
    click.echo(f"{described.name} in {described.precision}, {kind} weights {described.weights_digest[:19]}")
    if described.precision_check:
        click.echo(f"{described.precision}: {described.precision_check}")


def _first(errors: BaseExceptionGroup[Any]) -> BaseException:
    error: BaseException = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
