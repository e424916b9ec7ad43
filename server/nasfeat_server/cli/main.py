"""The group of commands; serving is the one that needs no name."""

import importlib
from collections.abc import Mapping
from types import MappingProxyType

import click

from nasfeat_server.cli import NEEDED

# By name, since some bring TensorFlow, which the server's own process must not load, and health nothing of the server.
_COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "serve": ("nasfeat_server.cli.serve", "serve"),
        "fine-tune": ("nasfeat_server.cli.fine_tune", "fine_tune"),
        "validate": ("nasfeat_server.cli.validate", "validate"),
        "config": ("nasfeat_server.cli.configuration", "config"),
        "check-config": ("nasfeat_server.cli.configuration", "check_config"),
        "health": ("nasfeat_server.cli.health", "health"),
        "admin": ("nasfeat_server.cli.admin", "admin"),
        "export": ("nasfeat_server.cli.export", "export"),
        "token": ("nasfeat_server.cli.token", "token"),
    }
)


class _Commands(click.Group):
    """Finds a command when it is called, and takes options without a command for those of `serve`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name]
        try:
            command: click.Command = getattr(importlib.import_module(module), name)
        except ImportError as error:
            raise click.ClickException(f"{NEEDED} ({error})") from error
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help", "--version")):
            args = ["serve", *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=_Commands,
    context_settings={"show_default": True, "help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="nasfeat")
def main() -> None:
    """Serve NASNet-A image features over gRPC; fine-tune and export the network.

    Without a command, `serve` is meant: `nasfeat-server --variant mobile` serves.
    """
