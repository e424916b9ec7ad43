"""The server's log: one line an event, on standard error."""

import logging


def configure(level: str) -> None:
    """Log from `level` ("debug", "info", "warning" or "error") upwards."""
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", force=True)
