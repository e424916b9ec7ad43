"""The server's log on standard error: a line for each event, for people or, as JSON, for programs."""

import logging
import warnings

from pythonjsonlogger.json import JsonFormatter

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")

_GRPC, _ODD_HEADER = "grpc._cython.cygrpc", "Invalid encoding on"
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def configure(level: str, form: str = "text") -> None:
    """Log from `level`, one of `LEVELS`, upwards, in one of `FORMATS`.

    As JSON each line is an object with time, level, logger and message, and whatever fields the event has.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_json() if form == "json" else _OneLine(_TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    _leave_out_strangers_texts()


def _leave_out_strangers_texts() -> None:
    """Keep what strangers send from filling the log through libraries that write of each oddity, with a trace.

    Python remembers every text that it has warned of, too, and Pillow's have the numbers of a picture in them.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger(_GRPC).addFilter(_is_no_odd_header)


def _is_no_odd_header(record: logging.LogRecord) -> bool:
    # Such a header is read as Latin-1 and means nothing; it may be a token.
    return not str(record.msg).startswith(_ODD_HEADER)


class _OneLine(logging.Formatter):
    """Keeps a message in its line: what clients send stands in some, and could else pass for lines of the server's."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """Give the line; what steers terminals is written out."""
        return super().formatMessage(record).translate(_CONTROLS)


def _json() -> logging.Formatter:
    return JsonFormatter(
        "%(asctime)s %(levelname)s %(name)s %(message)s",
        rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        datefmt="%Y-%m-%dT%H:%M:%S%z",
    )


def level() -> str:
    """Give the level from which the log has lines."""
    return logging.getLevelName(logging.getLogger().level).lower()


def form() -> str:
    """Give the format of the log, one of `FORMATS`."""
    handlers = logging.getLogger().handlers
    return "json" if any(isinstance(handler.formatter, JsonFormatter) for handler in handlers) else "text"


def set_level(level: str) -> None:
    """Log from `level`, one of `LEVELS`, upwards from now on."""
    logging.getLogger().setLevel(level.upper())
