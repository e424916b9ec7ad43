"""What came of fuzzing one target."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The figures of one target.

    Attributes:
        target: its name.
        inputs: how many were tried.
        seconds: of fuzzing.
        edges: of Python code that inputs reached, in what is instrumented; None for the port, whose process is not.
        found: new inputs that reached more; None likewise.
        crashes: what broke, in words, and where its input is.
        hangs: the same for what took too long.
        peak_mib: the most memory that the process had.
        kinds: how many inputs of each kind, where there are several.
    """

    target: str
    inputs: int
    seconds: float
    edges: int | None = None
    found: int | None = None
    crashes: tuple[str, ...] = ()
    hangs: tuple[str, ...] = ()
    peak_mib: int
    kinds: Mapping[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether anything broke."""
        return bool(self.crashes or self.hangs)
