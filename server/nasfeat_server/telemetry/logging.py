"""The server's log: one line an event, on standard error."""

import logging

LEVELS = ("debug", "info", "warning", "error")


def configure(level: str) -> None:
    """Log from `level`, one of `LEVELS`, upwards."""
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", force=True)


def level() -> str:
    """Give the level from which the log has lines."""
    return logging.getLevelName(logging.getLogger().level).lower()


def set_level(level: str) -> None:
    """Log from `level`, one of `LEVELS`, upwards from now on."""
    logging.getLogger().setLevel(level.upper())
