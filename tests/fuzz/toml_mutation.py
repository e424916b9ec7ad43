"""Changes files of TOML where blind changes get nowhere: a key or a value becomes one that is hard to take."""

from collections.abc import Callable
from random import Random

from tests.fuzz.target import Mutation
from tests.fuzz.wire_mutation import drawing

_REPEATED: tuple[Callable[[int], bytes], ...] = (
    lambda count: b"9" * count,
    lambda count: b"0x" + b"f" * count,
    lambda count: b"1" + b"0" * count + b".5",
    lambda count: b"[" * count,
    lambda count: b"[" * count + b"]" * count,
    lambda count: b"{x = " * count + b"1" + b"}" * count,
    lambda count: b'"' + b"\\u00e9" * count + b'"',
)
_VALUES = (
    b"inf",
    b"nan",
    b"1e400",
    b"-1",
    b"0",
    b"0.0",
    b"true",
    b'""',
    b"[]",
    b"{}",
    b"[[1]]",
    b"1979-05-27",
    b"07:32:00",
)
_COUNTS = (1, 20, 100, 400, 1200, 5000)


def mutate(data: bytes, blindly: Mutation, largest: int, chance: int) -> bytes:
    """Change one line of a file: in one of three cases knowing what it is."""
    draw = drawing(chance)
    if draw.randrange(3):
        return blindly(data, largest)
    lines = data.split(b"\n")
    at = draw.randrange(len(lines))
    key, _, value = lines[at].partition(b"=")
    if draw.randrange(4):
        lines[at] = key + b"=" + _value(draw)
    else:
        lines[at] = key.rstrip() + b".x" * draw.choice(_COUNTS) + b" =" + value
    return b"\n".join(lines)[:largest]


def _value(draw: Random) -> bytes:
    return draw.choice(_VALUES) if draw.randrange(2) else draw.choice(_REPEATED)(draw.choice(_COUNTS))
