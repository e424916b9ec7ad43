"""[connections]: how long a client's connection lasts, and what it carries."""

import click

from nasfeat_server.cli.settings.option import Options, setting
from nasfeat_server.config import ConnectionLimits

_DEFAULTS = ConnectionLimits()
_SECTION = "connections"
_SECONDS = click.FloatRange(min=0)

CONNECTIONS: Options = (
    setting(
        _SECTION,
        "--max-connection-age",
        type=_SECONDS,
        default=_DEFAULTS.max_age_s,
        help="Seconds after which a connection takes no new calls, so that clients spread anew; 0: no end.",
    ),
    setting(
        _SECTION,
        "--connection-grace",
        type=click.FloatRange(min=0, min_open=True),
        default=_DEFAULTS.age_grace_s,
        help="Seconds that its calls then have left; the SDK's streams go on elsewhere.",
    ),
    setting(
        _SECTION,
        "--max-connection-idle",
        type=_SECONDS,
        default=_DEFAULTS.max_idle_s,
        help="Seconds without a call after which a connection is closed; 0: never.",
    ),
    setting(
        _SECTION,
        "--max-calls-per-connection",
        type=click.IntRange(min=1),
        default=_DEFAULTS.max_calls,
        help="Calls and streams at once on one connection; further ones wait at the client.",
    ),
    setting(
        _SECTION,
        "--keepalive",
        type=click.FloatRange(min=1),
        default=_DEFAULTS.keepalive_s,
        help="Seconds without a word from a client after which it is asked for a sign of life ...",
    ),
    setting(
        _SECTION,
        "--keepalive-timeout",
        type=click.FloatRange(min=1),
        default=_DEFAULTS.keepalive_timeout_s,
        help="... and seconds after that in which it must come, or the connection is given up.",
    ),
)
