"""Changes messages of protobuf where blind changes get nowhere: field by field, at any depth, lengths right or not."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

_VARINT, _FIXED64, _LENGTH, _GROUP, _END_GROUP, _FIXED32 = range(6)
_NUMBERS = (0, 1, 2, 127, 128, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1)
_STRANGE = (
    b"\xff" * 9 + b"\x7f",  # A number of more than 64 bits.
    b"\x80" * 40,  # One without an end.
    b"\x00",  # Field 0.
    b"\x7b\x08\x01\x7c",  # A group.
    b"\x7c",  # The end of one that never began.
    b"\x0f",  # A wire type that is none.
    b"\x12\xff\xff\xff\xff\x0f",  # Four gigabytes.
    b"\xc2\x3e\x03abc",  # Field 1000, which nobody knows.
)
Field = tuple[int, int, Any]
"""Its number, its wire type, and what it holds."""


def drawing(seed: int) -> random.Random:
    """Give the random numbers of one input, which its seed alone decides."""
    return random.Random(seed)  # noqa: S311 - no secret


def mutated(message: bytes, draw: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """Give `message` after a change or a few; parts of `others` may be spliced in."""
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        message = draw.choice(_WAYS)(message, draw, others)
    return message


def read_fields(message: bytes) -> list[Field] | None:
    """Give the fields of `message`; None if it is none."""
    try:
        found: Any = UnknownFieldSet(Empty.FromString(message))
    except DecodeError:
        return None
    fields = [(field.field_number, field.wire_type, field.data) for field in found]
    return None if any(kind == _GROUP for _, kind, _ in fields) else fields


def written(fields: Sequence[Field], lie: int = 0) -> bytes:
    """Encode `fields`; the length of each is off by `lie`."""
    message = b""
    for number, kind, held in fields:
        message += varint(number << 3 | kind)
        if kind == _LENGTH:
            message += varint(max(0, len(held) + lie)) + held
        elif kind == _VARINT:
            message += varint(held)
        else:
            message += held.to_bytes(8 if kind == _FIXED64 else 4, "little")
    return message


def varint(value: int) -> bytes:
    """Encode a number."""
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes((*digits, value))


def _bytewise(message: bytes, draw: random.Random, others: Sequence[bytes]) -> bytes:
    """Flip, cut, truncate, repeat, insert or splice."""
    data = bytearray(message)
    at = draw.randrange(len(data) + 1)
    match draw.randrange(6):
        case 0 if data:
            data[at % len(data)] ^= 1 << draw.randrange(8)
        case 1:
            del data[at : at + draw.randrange(1, 40)]
        case 2:
            del data[at:]
        case 3:
            data[at:at] = data[at : at + draw.randrange(1, 200)] * draw.randrange(1, 5)
        case 4:
            data[at:at] = draw.randbytes(draw.randrange(1, 20))
        case _:
            other = draw.choice(others) if others else message
            data[at:] = other[draw.randrange(len(other) + 1) :]
    return bytes(data)


def _strange(message: bytes, draw: random.Random, _: Sequence[bytes]) -> bytes:
    """Put what no encoder writes before or behind the fields."""
    strange = draw.choice(_STRANGE)
    return message + strange if draw.random() < 0.5 else strange + message


def _fieldwise(message: bytes, draw: random.Random, others: Sequence[bytes]) -> bytes:
    """Change one field, or one within it."""
    fields = read_fields(message)
    if not fields:
        return _bytewise(message, draw, others)
    at = draw.randrange(len(fields))
    number, kind, held = fields[at]
    match draw.randrange(7):
        case 0:
            fields[at:at] = [fields[at]] * draw.randrange(1, 40)
        case 1:
            del fields[at]
        case 2:
            draw.shuffle(fields)
        case 3:
            fields[at] = (draw.randrange(1, 16), kind, held)
        case 4:
            fields += read_fields(draw.choice(others) if others else message) or []
        case _:
            fields[at] = (number, kind, _content(kind, held, draw, others))
    return written(fields, draw.choice((*(0,) * 20, 1, -1, 2**31)))


def _extreme(message: bytes, draw: random.Random, others: Sequence[bytes]) -> bytes:
    """Make one number, at any depth, the least or the most that it can be, or what is next to it."""
    fields = read_fields(message)
    if not fields:
        return _bytewise(message, draw, others)
    numbers = [at for at, (_, kind, held) in enumerate(fields) if kind != _LENGTH or read_fields(held)]
    if not numbers:
        return _fieldwise(message, draw, others)
    at = draw.choice(numbers)
    number, kind, held = fields[at]
    changed = _extreme(held, draw, others) if kind == _LENGTH else _content(kind, held, draw, others)
    fields[at] = (number, kind, changed)
    return written(fields)


def _content(kind: int, held: Any, draw: random.Random, others: Sequence[bytes]) -> Any:
    if kind == _LENGTH:
        inner = _fieldwise if draw.random() < 0.9 else _bytewise
        return inner(held, draw, others)
    return draw.choice(_NUMBERS) % 2 ** (64 if kind != _FIXED32 else 32)


_WAYS: tuple[Callable[[bytes, random.Random, Sequence[bytes]], bytes], ...] = (
    *(_fieldwise,) * 5,
    *(_extreme,) * 2,
    _bytewise,
    _strange,
)
