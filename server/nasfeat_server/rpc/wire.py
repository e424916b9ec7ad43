"""Messages as they lie on the wire, unparsed (https://protobuf.dev/programming-guides/encoding)."""

from collections.abc import Iterator

from google.protobuf.descriptor import Descriptor

VARINT, FIXED64, LENGTH, GROUP, GROUP_END, FIXED32 = range(6)
"""How a field is written: the last three bits of its tag."""

LARGE = 2**16
"""Bytes from which on a message is looked at before it is parsed; below, parsing costs less than looking."""

# Of ten bytes, which hold any number. Reading a longer one would take a time that grows with the square of its length.
_VARINT_BITS = 70
_ONE_BYTE = [bytes((value,)) for value in range(128)]
# An image has ten at most.
_MOST_FIELDS = 2**15


class MalformedError(Exception):
    """This is no message."""


def fields(message: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Give each field between two places of `message`: where it begins, its tag, where its content begins and ends.

    Groups, which nobody uses any more, are not looked into: they are two fields without content and those in between.

    Raises:
        MalformedError: what is there are no fields.
    """
    try:
        while at < end:
            began, tag = at, message[at]
            at += 1
            if tag >= 128:
                tag, at = varint(message, began)
            if tag < 8:
                raise MalformedError
            content, kind = at, tag & 7
            if kind == VARINT:
                # Most numbers and lengths are one byte.
                at = at + 1 if message[at] < 128 else varint(message, at)[1]
            elif kind == LENGTH:
                length, content = (message[at], at + 1) if message[at] < 128 else varint(message, at)
                at = content + length
            elif kind in (FIXED32, FIXED64):
                at += 4 if kind == FIXED32 else 8
            elif kind not in (GROUP, GROUP_END):
                raise MalformedError
            if at > end:
                raise MalformedError
            yield began, tag, content, at
    except IndexError as error:
        raise MalformedError from error


def varint(message: bytes, at: int) -> tuple[int, int]:
    """Read a number of seven bits a byte, the lowest first; gives it and where it ends.

    Raises:
        MalformedError: it has no end, or is too long.
    """
    value = shift = 0
    try:
        while shift < _VARINT_BITS:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, at
            shift += 7
    except IndexError as error:
        raise MalformedError from error
    raise MalformedError


def varint_of(value: int) -> bytes:
    """Write a number."""
    if value < 128:
        return _ONE_BYTE[value]
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def excess(message: bytes, descriptor: Descriptor) -> str:
    """Say that `message` has more fields than any client has a use for; "" if it has not.

    An empty field takes two bytes on the wire and fifty once it is parsed: 64 MiB of them would take gigabytes.

    Args:
        message: as it came, right or not.
        descriptor: what it should be.
    """
    if len(message) < LARGE:
        return ""
    seen = 0
    unread = [(0, len(message), descriptor)]
    while unread:
        at, end, kind = unread.pop()
        try:
            for _, tag, content, content_end in fields(message, at, end):
                seen += 1
                if seen > _MOST_FIELDS:
                    return f"a message has over {_MOST_FIELDS} fields"
                field = kind.fields_by_number.get(tag >> 3)
                if field and field.message_type and tag & 7 == LENGTH:
                    unread.append((content, content_end, field.message_type))
        except MalformedError:
            # Parsed as far as here; what was found before counts.
            continue
    return ""
