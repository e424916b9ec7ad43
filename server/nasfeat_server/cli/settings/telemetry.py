"""[telemetry]: what the server tells of itself."""

import click

from nasfeat_server.cli.settings.option import EndpointType, Options, setting
from nasfeat_server.config import ServerConfig
from nasfeat_server.telemetry.logging import FORMATS, LEVELS

_DEFAULTS = ServerConfig()
_SECTION = "telemetry"

TELEMETRY: Options = (
    setting(
        _SECTION,
        "--metrics",
        type=EndpointType(),
        default=str(_DEFAULTS.metrics),
        metavar="HOST:PORT",
        help="Where Prometheus scrapes.",
    ),
    setting(_SECTION, "--log-level", type=click.Choice(LEVELS), default="info", help="The log."),
    setting(
        _SECTION,
        "--log-format",
        type=click.Choice(FORMATS),
        default="text",
        help="Lines for people, or a JSON object a line for programs.",
    ),
)
