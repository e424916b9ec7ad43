"""An option that is a setting: a flag, a variable and a key of a file, in the section that it belongs to."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

from nasfeat_server.config import Endpoint
from nasfeat_server.config.facades import NONE, facades_of
from nasfeat_server.errors import ConfigurationError

PREFIX = "NASFEAT_SERVER_"
PROBLEMS = "nasfeat_server.problems"
"""Where a command that wants to hear of every wrong value at once keeps its list, in a context's `meta`."""

Options = tuple[Callable[[Any], Any], ...]
_Command = TypeVar("_Command", bound=Callable[..., Any])


class Setting(click.Option):
    """An option with a section and a variable of its own.

    Attributes:
        section: the group of `--help` and the table of the file.
        key: the name in that table, which is that of the flag.
        own_default: what it is when nobody says anything; None where that depends on other things.
    """

    def __init__(self, *args: Any, section: str, **kwargs: Any) -> None:
        """Take what an option takes, and the section."""
        super().__init__(*args, **kwargs)
        self.section = section
        self.own_default = kwargs.get("default", False if self.is_flag else None)
        self.key = max(self.opts, key=len).removeprefix("--")
        self.envvar = PREFIX + self.key.replace("-", "_").upper()

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """Read the value; what is not a number is within any bounds, and what has no end is no time to wait."""
        read = super().type_cast_value(ctx, value)
        if isinstance(read, float) and not math.isfinite(read):
            raise click.BadParameter(f"{value} is not a finite number.", ctx, self)
        return read

    def handle_parse_result(self, ctx: click.Context, opts: Any, args: list[str]) -> tuple[Any, list[str]]:
        """Read the value. A wrong one is noted if others shall be heard of too, and the default takes its place."""
        try:
            return super().handle_parse_result(ctx, opts, args)
        except click.BadParameter as error:
            if PROBLEMS not in ctx.meta:
                raise
            ctx.meta[PROBLEMS].append((self, error.message))
            default = self.own_default
            ctx.params[self.name or self.key] = None if default is None else self.type_cast_value(ctx, default)
            return None, args


def setting(section: str, *declarations: str, **attributes: Any) -> Callable[[_Command], _Command]:
    """Declare an option of `section`; the rest is what `click.option` takes."""
    return click.option(*declarations, cls=Setting, section=section, **attributes)


def with_options(options: Options) -> Callable[[_Command], _Command]:
    """Add `options` to a command, the first one on top."""

    def add(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


class EndpointType(click.ParamType[Endpoint]):
    """HOST:PORT."""

    name = "endpoint"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Endpoint:
        """Read "HOST:PORT"."""
        if isinstance(value, Endpoint):
            return value
        try:
            return Endpoint.parse(str(value))
        except ConfigurationError as error:
            self.fail(str(error), param, ctx)


class FacadesType(click.ParamType[str]):
    """Names of facades with commas between them."""

    name = "facades"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the names, and give them in their order."""
        try:
            return ",".join(facades_of(str(value))) or NONE
        except ConfigurationError as error:
            self.fail(str(error), param, ctx)


class FrontEndsType(click.ParamType[int | str]):
    """A number of processes, or "auto"."""

    name = "front_ends"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Read a whole number or "auto"."""
        text = str(value)
        if text == "auto":
            return text
        if not text.isdecimal():
            self.fail(f"{value!r} is neither a number of front ends nor 'auto'", param, ctx)
        return int(text)
