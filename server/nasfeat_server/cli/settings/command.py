"""A command of settings: they come from flags, variables and a file, and are heard of all at once if they are wrong."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from nasfeat_server.cli.settings.build import OPTION_OF_FIELD, server_config
from nasfeat_server.cli.settings.file import read_file
from nasfeat_server.cli.settings.option import PREFIX, PROBLEMS, Setting
from nasfeat_server.config import ServerConfig
from nasfeat_server.errors import ConfigurationError, InvalidSettingsError

_FILE = "nasfeat_server.file"
_RULE = (
    f"Each setting is a flag, a variable {PREFIX}NAME (the flag's name in capitals, with _ for -), or a key of the "
    "file that --config names, in the table of its section; the first of these that has it wins."
)


class SettingsCommand(click.Command):
    """Reads the file that --config names, checks everything, and shows its options by section.

    Its callback finds the `ServerConfig` in `context.obj`.
    """

    def __init__(
        self, *args: Any, checks: Callable[[ServerConfig], Sequence[str]] = lambda _: (), **kwargs: Any
    ) -> None:
        """Take what a command takes; `--config` is added.

        Args:
            args: the command's.
            checks: what else may be wrong with a configuration, to be told with the rest.
            kwargs: the command's.
        """
        super().__init__(*args, **kwargs)
        self._checks = checks
        self.params.insert(0, _config_option())

    def settings(self) -> tuple[Setting, ...]:
        """Give the options that are settings, in their order."""
        return tuple(param for param in self.params if isinstance(param, Setting))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read every setting from where it is.

        Raises:
            click.UsageError: names all that are wrong, with where each came from.
        """
        problems: list[tuple[Setting, str]] = []
        ctx.meta[PROBLEMS] = problems
        ctx.meta[_FILE] = []
        rest = super().parse_args(ctx, args)
        messages = [*ctx.meta[_FILE], *(f"{origin(ctx, option)}: {message}" for option, message in problems)]
        try:
            ctx.obj = server_config(**{option.name or "": ctx.params[option.name or ""] for option in self.settings()})
            messages += self._checks(ctx.obj)
        except InvalidSettingsError as error:
            messages += [self._told(ctx, field, message) for field, message in error.wrong]
        except ConfigurationError as error:
            messages.append(str(error))
        if messages:
            raise click.UsageError("\n".join(_numbered(messages)), ctx)
        return rest

    def _told(self, ctx: click.Context, field: str, message: str) -> str:
        name = OPTION_OF_FIELD.get(field, field)
        option = next((option for option in self.settings() if option.name == name), None)
        return f"{origin(ctx, option)}: {message}" if option else message

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record:
                sections.setdefault(param.section if isinstance(param, Setting) else "", []).append(record)
        for section, records in sections.items():
            with formatter.section(f"[{section}]" if section else "Options"):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Say where settings come from."""
        super().format_epilog(ctx, formatter)
        formatter.write_paragraph()
        formatter.write_text(_RULE)


def origin(ctx: click.Context, option: Setting) -> str:
    """Say where the value of `option` comes from, in the words of whoever wrote it there."""
    source = ctx.get_parameter_source(option.name or "")
    if source is ParameterSource.ENVIRONMENT:
        return str(option.envvar)
    if source is ParameterSource.DEFAULT_MAP:
        return f"{ctx.params.get('config') or 'the file'}: [{option.section}] {option.key}"
    return f"--{option.key}"


def _numbered(messages: list[str]) -> list[str]:
    return messages if len(messages) == 1 else [f"{len(messages)} settings are wrong:", *(f"  {m}" for m in messages)]


def _config_option() -> click.Option:
    return click.Option(
        ["--config"],
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        envvar=f"{PREFIX}CONFIG",
        show_envvar=True,
        is_eager=True,
        callback=_take_file,
        metavar="FILE",
        help="A TOML file with settings.",
    )


def _take_file(ctx: click.Context, _: click.Parameter, path: Path | None) -> Path | None:
    if path and isinstance(ctx.command, SettingsCommand):
        values, problems = read_file(path, ctx.command.settings())
        defaults: Mapping[str, Any] = values
        ctx.default_map = dict(defaults)
        ctx.meta[_FILE] += problems
    return path
