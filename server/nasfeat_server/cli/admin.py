"""`nasfeat-server admin`: the operator's orders to a running server."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click

from nasfeat_server.errors import ReloadError
from nasfeat_server.rpc import control_client
from nasfeat_server.rpc.control_client import Admin

_move_streams = click.option(
    "--move-streams",
    is_flag=True,
    help="End the streams of the version that gives way, once what they have in flight is answered: their clients open "
    "them again, and those of the SDK go on if ResumeConfig(other_versions=True) allows it. Otherwise they keep to "
    "their version until they end by themselves.",
)


@click.group
@click.option(
    "--control",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    envvar="NASFEAT_SERVER_CONTROL",
    show_envvar=True,
    metavar="SOCKET",
    help="The server's control socket, as its own --control names it.",
)
@click.pass_context
def admin(context: click.Context, control: Path) -> None:
    """Look at a running server and change what it serves.

    New weights are loaded beside those that serve and get a share of the calls as the canary; then they are promoted,
    or rolled back. Orders go over a socket that only the server's user may open.
    """
    context.obj = control


@admin.command
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def status(control: Path, *, as_json: bool) -> None:
    """Show the versions of the model, their shares and what they have under way."""
    state = _ask(control, lambda server: server.status())
    click.echo(control_client.as_json(state) if as_json else control_client.as_text(state))


@admin.command
@click.option("--weights", required=True, metavar="SOURCE", help="A weights source, as serve takes it.")
@click.option("--version", required=True, metavar="NAME", help="A name for them; every result tells it.")
@click.option("--share", type=click.FloatRange(0, 1), default=0.0, help="Part of the new calls that they get at first.")
@click.pass_obj
def load(control: Path, weights: str, version: str, share: float) -> None:
    """Load other weights as the canary; ends when they are served. Ctrl-C gives the loading up."""
    click.echo(f"loading {weights}; the server's log has the progress", err=True)
    _ask(control, lambda server: server.load(weights, version, share))
    click.echo(f"version {version!r} is the canary, with {share:.0%} of the new calls")


@admin.command
@click.argument("share", type=click.FloatRange(0, 1))
@click.pass_obj
def share(control: Path, share: float) -> None:
    """Give the canary SHARE of the new calls, 0 to 1."""
    _ask(control, lambda server: server.set_share(share))
    click.echo(f"the canary has {share:.0%} of the new calls")


@admin.command
@_move_streams
@click.option("--keep-previous", is_flag=True, help="Keep the replicas of the version before, to be rolled back to.")
@click.pass_obj
def promote(control: Path, *, move_streams: bool, keep_previous: bool) -> None:
    """Make the canary the stable version; the one before finishes its calls and leaves."""
    _ask(control, lambda server: server.promote(move_streams=move_streams, keep_previous=keep_previous))
    click.echo("the canary is the stable version now")


@admin.command("rollback")
@_move_streams
@click.pass_obj
def roll_back(control: Path, *, move_streams: bool) -> None:
    """Give the canary up; without one, make the version before stable again, if it was kept."""
    _ask(control, lambda server: server.roll_back(move_streams=move_streams))
    click.echo("rolled back")


@admin.command("log-level")
@click.argument("level", type=click.Choice(["debug", "info", "warning", "error"]))
@click.pass_obj
def log_level(control: Path, level: str) -> None:
    """Log from LEVEL upwards from now on."""
    _ask(control, lambda server: server.set_log_level(level))
    click.echo(f"the log has lines from {level} upwards")


def _ask(control: Path, order: Callable[[Admin], Awaitable[Any]]) -> Any:
    async def ask() -> Any:
        async with control_client.connected(control) as server:
            return await order(server)

    try:
        return asyncio.run(ask())
    except ReloadError as error:
        raise click.ClickException(str(error)) from error
