"""[security]: who may use the server, and as whom it runs."""

from pathlib import Path

import click

from nasfeat_server.cli.settings.option import Options, setting

_SECTION = "security"
_FILE = click.Path(dir_okay=False, path_type=Path)

SECURITY: Options = (
    setting(
        _SECTION,
        "--tls-cert",
        type=_FILE,
        metavar="FILE",
        help="The server's certificate, and after it those up to its authority, PEM. Read again when it changes.  "
        "[default: none, no TLS]",
    ),
    setting(_SECTION, "--tls-key", type=_FILE, metavar="FILE", help="Its private key, PEM, not encrypted."),
    setting(
        _SECTION,
        "--tls-client-ca",
        type=_FILE,
        metavar="FILE",
        help="Authorities, PEM: clients must have certificates of theirs.  [default: none, no client is asked]",
    ),
    setting(
        _SECTION,
        "--tokens",
        type=_FILE,
        metavar="FILE",
        help="Tenants, the hashes of their tokens, and their quotas, TOML; see `token new`. Read again when it "
        "changes.  [default: none, no call is asked for a token]",
    ),
    setting(
        _SECTION,
        "--user",
        metavar="NAME[:GROUP]",
        help="Whom the server becomes, started by root, once its ports are bound; as UID:GID too.",
    ),
    setting(_SECTION, "--allow-root", is_flag=True, help="Serve other machines as root, which is else refused."),
)
