"""TOML within bounds: what operators write has few levels and small numbers, and nothing else can be used."""

import tomllib
from typing import Any

from nasfeat_server.errors import ConfigurationError

_MOST_LEVELS = 16
# What TOML asks of a reader. Python reads any whole number, and then can neither write it out nor make it a float.
_MOST = 2**63


def parse_toml(content: bytes) -> dict[str, Any]:
    """Read a file of TOML.

    Raises:
        ConfigurationError: it is not TOML, nested too deeply, or has a whole number of more than 64 bits.
    """
    try:
        told = tomllib.loads(content.decode())
    except RecursionError as error:
        raise ConfigurationError(f"it cannot be read as TOML: over {_MOST_LEVELS} levels") from error
    except ValueError as error:
        raise ConfigurationError(f"it cannot be read as TOML: {error}") from error
    level: list[Any] = [told]
    for _ in range(_MOST_LEVELS):
        level = [inner for value in level for inner in _inside(value)]
    if level:
        raise ConfigurationError(f"it has tables and lists within each other to over {_MOST_LEVELS} levels")
    return told


def _inside(value: Any) -> list[Any]:
    if isinstance(value, int) and not -_MOST <= value < _MOST:
        raise ConfigurationError("it has a whole number of more than 64 bits")
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
