"""[telemetry]: what the server tells of itself."""

import click

from nasfeat_server.cli.settings.option import EndpointType, Options, setting
from nasfeat_server.config import ServerConfig, StatusPage
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
    setting(
        _SECTION,
        "--status-page",
        type=click.Choice([page.value for page in StatusPage]),
        default=_DEFAULTS.status_page.value,
        help="What browsers get at the address of the metrics: nothing; streams, queue, devices, latencies and errors; "
        "or also a panel to try pictures in. `auto`: `try` on a loopback address, else `off`.",
    ),
    setting(
        _SECTION,
        "--trace-endpoint",
        metavar="URL",
        help="A collector that takes spans as OTLP over gRPC, http://HOST:PORT or https://HOST:PORT; needs the extra "
        "otel.  [default: none, nothing is traced]",
    ),
    setting(
        _SECTION,
        "--trace-ratio",
        type=click.FloatRange(min=0, max=1),
        default=_DEFAULTS.tracing.ratio,
        help="The part that is traced of the calls and images about which no client has decided.",
    ),
    setting(
        _SECTION,
        "--trace-limit",
        type=click.FloatRange(min=0, min_open=True),
        default=_DEFAULTS.tracing.limit,
        help="Calls and images a second that are traced at most, whoever wants them to be.",
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
