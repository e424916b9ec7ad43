"""`nasfeat-server token`: what tenants show, and what the server's file of tenants has of it."""

import click

from nasfeat_server.errors import ConfigurationError
from nasfeat_server.security.tokens import check_name, new_token, written


@click.group
def token() -> None:
    """Make tokens for the file that --tokens names."""


@token.command
@click.option("--tenant", required=True, metavar="NAME", help="Whose it is.")
def new(*, tenant: str) -> None:
    """Make a token: the token alone on standard output, what the file needs on standard error.

    It is shown this once and kept nowhere; the file has its hash. `> FILE` makes a file for `nasfeat --token-file`.
    A tenant may have several: add the new hash, give the token out, and take the old hash away when it is in use.
    """
    try:
        check_name(tenant)
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error
    made = new_token()
    click.echo(f'For the file of tenants:\n\n[tenants.{_key(tenant)}]\ntokens = ["{written(made)}"]\n', err=True)
    click.echo(made)


def _key(name: str) -> str:
    """Write `name` as a key of TOML, in which a bare dot begins another table."""
    return f'"{name}"' if "." in name else name
