"""`nasfeat-server serve`, the command that needs no name."""

import asyncio
from typing import Any

import click

from nasfeat_server.app import main
from nasfeat_server.cli.allocator import keep_freed_memory
from nasfeat_server.cli.settings import SERVER_OPTIONS
from nasfeat_server.cli.settings.command import SettingsCommand
from nasfeat_server.cli.settings.option import with_options
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.telemetry import logging


@click.command(cls=SettingsCommand)
@with_options(SERVER_OPTIONS)
@click.pass_context
def serve(context: click.Context, /, log_level: str, log_format: str, **_: Any) -> None:
    """Turn images into NASNet-A feature vectors over gRPC streams.

    Ends with exit code 0 after SIGTERM or Ctrl-C, when what was in flight is answered; with 2 if it cannot start as
    it was told to.
    """
    logging.configure(log_level, log_format)
    keep_freed_memory()
    try:
        asyncio.run(main(context.obj))
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error
