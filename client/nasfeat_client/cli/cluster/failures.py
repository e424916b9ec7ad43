"""How a failure on a node gets to the user: as a text, since what raised it need not be installed elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

import click


class StageError(Exception):
    """A stage failed.

    Attributes:
        reason: why, for users. Ray Data adds to the exception's own text.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@contextmanager
def told() -> Iterator[None]:
    """Make a `StageError` of whatever is raised."""
    try:
        yield
    except Exception as error:
        raise StageError(said(error)) from error


def said(error: BaseException) -> str:
    """Say what went wrong: our own errors are for users, of others the kind is told too."""
    if isinstance(error, StageError):
        return error.reason
    if isinstance(error, click.ClickException):
        return error.message
    if type(error).__module__.startswith("nasfeat"):
        return str(error)
    return f"{type(error).__name__}: {error}"
