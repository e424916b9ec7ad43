"""[serving]: where the server listens, and how images pass through it."""

from pathlib import Path

import click

from nasfeat_server.cli.settings.option import EndpointType, FacadesType, FrontEndsType, Options, setting
from nasfeat_server.config import ServerConfig

_DEFAULTS = ServerConfig()
_SECTION = "serving"

SERVING: Options = (
    setting(
        _SECTION,
        "--listen",
        type=EndpointType(),
        default=str(_DEFAULTS.listen),
        metavar="HOST:PORT",
        help="Where gRPC is served.",
    ),
    setting(
        _SECTION,
        "--facades",
        type=FacadesType(),
        default=",".join(_DEFAULTS.facades),
        metavar="LIST",
        help="The protocols of other servers that are spoken on the same port, for clients that know these; 'none' for "
        "our own alone.",
    ),
    setting(
        _SECTION,
        "--front-ends",
        type=FrontEndsType(),
        default=str(_DEFAULTS.front_ends),
        metavar="N|auto",
        help="Processes that take calls, on one port. One serves about a thousand raw frames a second; 'auto' takes "
        "one for each GPU, as far as there are two cores for each.",
    ),
    setting(
        _SECTION,
        "--control",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="SOCKET",
        help="A socket, made for this server's user alone, on which `nasfeat-server admin` gives orders: other "
        "weights, the log's level.  [default: none]",
    ),
    setting(
        _SECTION,
        "--max-batch",
        type=click.IntRange(min=1),
        help="Largest batch, a power of two.  [default: 4 on a CPU, 32 on a GPU]",
    ),
    setting(
        _SECTION,
        "--slots",
        type=click.IntRange(min=1),
        help="Decoded images held at once.  [default: 64, or four batches a replica]",
    ),
    setting(
        _SECTION,
        "--single-flight/--no-single-flight",
        default=_DEFAULTS.single_flight,
        help="Compute an image once while the same image is on its way.  [default: yes]",
    ),
    setting(
        _SECTION,
        "--cache-mib",
        type=click.IntRange(min=0),
        default=0,
        help="Recent results kept for images that come again, MiB.",
    ),
    setting(
        _SECTION,
        "--grace",
        type=click.FloatRange(min=0),
        default=_DEFAULTS.grace_s,
        help="Seconds that work in flight may take after SIGTERM.",
    ),
)
