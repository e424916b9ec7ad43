"""The server's settings: each is declared once, as an option, and is a flag, a variable and a key of a TOML file.

A module for each section, which is a group of `--help` and a table of the file; `serve_options` has all of them.
"""

from nasfeat_server.cli.settings.connections import CONNECTIONS
from nasfeat_server.cli.settings.engine import ENGINE
from nasfeat_server.cli.settings.limits import LIMITS
from nasfeat_server.cli.settings.model import MODEL, SERVED_MODEL
from nasfeat_server.cli.settings.option import Options
from nasfeat_server.cli.settings.ray import RAY
from nasfeat_server.cli.settings.security import SECURITY
from nasfeat_server.cli.settings.serving import SERVING
from nasfeat_server.cli.settings.supervision import SUPERVISION
from nasfeat_server.cli.settings.telemetry import TELEMETRY

SERVER_OPTIONS: Options = (
    *MODEL,
    *SERVED_MODEL,
    *ENGINE,
    *RAY,
    *SERVING,
    *LIMITS,
    *CONNECTIONS,
    *SECURITY,
    *SUPERVISION,
    *TELEMETRY,
)
"""What `serve`, `config` and `check-config` take, in the order of `--help`."""
