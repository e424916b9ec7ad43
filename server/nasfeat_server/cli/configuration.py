"""`nasfeat-server config` and `check-config`: what a server would be told, and whether it could start so."""

from typing import Any

import click
import tomlkit
from click.core import ParameterSource

from nasfeat_server.cli.checks import problems_of
from nasfeat_server.cli.settings import SERVER_OPTIONS
from nasfeat_server.cli.settings.command import SettingsCommand, origin
from nasfeat_server.cli.settings.file import toml_value
from nasfeat_server.cli.settings.option import Setting, with_options


@click.command(cls=SettingsCommand)
@click.option("--print", "_", is_flag=True, help="Print the configuration, which is what this does anyway.")
@with_options(SERVER_OPTIONS)
@click.pass_context
def config(context: click.Context, /, **_: Any) -> None:
    """Print the configuration that these flags, variables and file make, with where each value comes from.

    What is printed is a file for --config. It names files of keys and tokens and holds none of what is in them.
    """
    click.echo(tomlkit.dumps(_document(context)), nl=False)


@click.command(cls=SettingsCommand, checks=problems_of)
@with_options(SERVER_OPTIONS)
def check_config(**_: Any) -> None:
    """Check what serve would be told, and start nothing.

    Beside the values this looks at what they name: files, folders, addresses, devices, engines. Everything that is
    wrong is told at once; the exit code is then 2.
    """
    click.echo("The configuration is good.")


def _document(context: click.Context) -> tomlkit.TOMLDocument:
    document = tomlkit.document()
    command = context.command
    if not isinstance(command, SettingsCommand):
        raise TypeError("settings belong to a command of settings")
    for option in command.settings():
        table = document.setdefault(option.section, tomlkit.table())
        value = context.params[option.name or ""]
        if value is None:
            table.add(tomlkit.comment(f"{option.key} is not set"))
        else:
            table.add(option.key, tomlkit.item(toml_value(value)).comment(_source(context, option)))
    return document


def _source(context: click.Context, option: Setting) -> str:
    is_default = context.get_parameter_source(option.name or "") is ParameterSource.DEFAULT
    return "default" if is_default else f"from {origin(context, option)}"
