"""The server's log on standard error: a line for each event, for people or, as JSON, for programs."""

import logging

from pythonjsonlogger.json import JsonFormatter

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")

_TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def configure(level: str, form: str = "text") -> None:
    """Log from `level`, one of `LEVELS`, upwards, in one of `FORMATS`.

    As JSON each line is an object with time, level, logger and message, and whatever fields the event has.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_json() if form == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _json() -> logging.Formatter:
    return JsonFormatter(
        "%(asctime)s %(levelname)s %(name)s %(message)s",
        rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        datefmt="%Y-%m-%dT%H:%M:%S%z",
    )


def level() -> str:
    """Give the level from which the log has lines."""
    return logging.getLevelName(logging.getLogger().level).lower()


def set_level(level: str) -> None:
    """Log from `level`, one of `LEVELS`, upwards from now on."""
    logging.getLogger().setLevel(level.upper())
