"""[supervision]: what is done about replicas that fail."""

import click

from nasfeat_server.cli.settings.option import Options, setting
from nasfeat_server.config import ServerConfig

_DEFAULTS = ServerConfig()
_SECTION = "supervision"
_OVER_ZERO = click.FloatRange(min=0, min_open=True)

SUPERVISION: Options = (
    setting(
        _SECTION,
        "--hang",
        type=_OVER_ZERO,
        default=_DEFAULTS.hang_s,
        help="Seconds without an answer after which a replica is killed.",
    ),
    setting(
        _SECTION,
        "--start-limit",
        "start_limit_s",
        type=_OVER_ZERO,
        default=_DEFAULTS.start_limit_s,
        help="Seconds without progress after which a replica that starts is killed.",
    ),
    setting(
        _SECTION,
        "--quarantine-after",
        type=click.IntRange(min=1),
        default=_DEFAULTS.quarantine_after,
        help="Deaths of a device's replicas in a row, none of which lived for a minute, after which it is left "
        "alone ...",
    ),
    setting(
        _SECTION,
        "--quarantine",
        "quarantine_s",
        type=click.FloatRange(min=0),
        default=_DEFAULTS.quarantine_s,
        help="... for so many seconds.",
    ),
    setting(
        _SECTION,
        "--outage",
        type=_OVER_ZERO,
        default=_DEFAULTS.outage_s,
        help="Seconds without any replica after which images that wait are answered as UNAVAILABLE.",
    ),
)
