"""What FFmpeg is told of a source, and what it says of one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import av
import click
from av.container import InputContainer


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Something that FFmpeg reads pictures from.

    Attributes:
        location: a file or a URL.
        input_format: FFmpeg's name for how it is read; None lets it find out.
        options: FFmpeg's options for that.
    """

    location: Path | str
    input_format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return "stdin" if self.location == STDIN else str(self.location)

    def open(self, *, timeout_s: tuple[float, float] | None = None) -> InputContainer:
        """Open it, to be closed by the caller.

        Args:
            timeout_s: seconds that opening, and reading, may take.

        Raises:
            click.ClickException: it cannot be read, or has no pictures.
        """
        try:
            container = av.open(self.location, format=self.input_format, options=dict(self.options), timeout=timeout_s)
        except av.FFmpegError as error:
            raise self.unreadable(error) from error
        except ValueError as error:
            raise click.ClickException(f"cannot read {self}: FFmpeg says: {error}") from error
        if not container.streams.video:
            container.close()
            raise click.ClickException(f"{self} has no video stream")
        return container

    def unreadable(self, error: av.FFmpegError) -> click.ClickException:
        """Say what FFmpeg has against it."""
        return click.ClickException(f"cannot read {self}: {error.strerror}")


STDIN = "pipe:0"
"""FFmpeg's name for standard input."""
