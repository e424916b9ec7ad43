"""Conversations of HTTP/2 as bytes: right ones, and what becomes of them."""

import random
from collections.abc import Sequence

from h2.config import H2Configuration
from h2.connection import H2Connection

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
Headers = Sequence[tuple[bytes, bytes]]
_HEAD = 9
# Frames that are out of place nearly everywhere: kind, flags, stream, content.
_ODD = (
    (0x0, 0x8, 1, b"\xff" * 8),  # DATA with more padding than content.
    (0x0, 0x0, 0, b"abc"),  # DATA on the connection itself.
    (0x1, 0x4, 1, b"\x3f\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),  # A table of headers of any size.
    (0x1, 0x4, 2, b"\x82\x86\x84"),  # A stream that a server would open.
    (0x2, 0x0, 1, b"\x80\0\0\1\xff"),  # A stream that depends on itself.
    (0x3, 0x0, 99, b"\0\0\0\x08"),  # The end of a stream that never began.
    (0x4, 0x0, 0, b"\0\4\xff\xff\xff\xff"),  # A window beyond its limit.
    (0x4, 0x0, 0, b"\0\5\0\0\0\1" * 50),  # Frames smaller than allowed, many times over.
    (0x4, 0x1, 0, b"\0\1\0\0\0\0"),  # An acknowledgement with content.
    (0x5, 0x4, 1, b"\0\0\0\2\x82"),  # A promise, which clients do not make.
    (0x6, 0x0, 0, b"short"),  # PING.
    (0x7, 0x0, 0, b"\0\0\0\0\0\0\0\0bye"),  # GOAWAY.
    (0x8, 0x0, 0, b"\0\0\0\0"),  # A window that grows by nothing.
    (0x8, 0x0, 1, b"\x7f\xff\xff\xff"),  # And by too much.
    (0x9, 0x4, 1, b"\x82"),  # CONTINUATION of nothing.
    (0xFA, 0xFF, 7, b"what is this"),
)


def conversation(headers: Headers, body: bytes, *, end: bool = True) -> bytes:
    """Give what a client sends that makes one call: its preface, settings, headers and data."""
    config = H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
    connection = H2Connection(config)
    connection.initiate_connection()
    connection.send_headers(1, headers)
    # What the initial window allows; the answer is not waited for.
    for at in range(0, min(len(body), 65_535), 16_384):
        connection.send_data(1, body[at : min(at + 16_384, 65_535)])
    if end:
        connection.end_stream(1)
    return connection.data_to_send()


def mutated(sent: bytes, draw: random.Random) -> bytes:
    """Change one to five frames of a conversation."""
    frames = _split(sent)
    for _ in range(draw.randint(1, 5)):
        at = draw.randrange(len(frames))
        match draw.randrange(7):
            case 0:
                del frames[at : at + 1]
            case 1:
                frames[at:at] = [frames[at]] * draw.randrange(1, 30)
            case 2:
                draw.shuffle(frames)
            case 3:
                frames[at] = _flipped(frames[at], draw, _HEAD)
            case 4:
                frames[at] = _flipped(frames[at], draw, len(frames[at]))
            case 5:
                frames[at] = draw.randbytes(3) + frames[at][3:]
            case _:
                frames.insert(at, _frame(*draw.choice(_ODD)))
        frames = frames or [b""]
    return PREFACE + b"".join(frames)


def _split(sent: bytes) -> list[bytes]:
    frames, at = [], len(PREFACE)
    while at < len(sent):
        end = at + _HEAD + int.from_bytes(sent[at : at + 3], "big")
        frames.append(sent[at:end])
        at = end
    return frames


def _frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    return len(content).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + content


def _flipped(frame: bytes, draw: random.Random, within: int) -> bytes:
    data = bytearray(frame)
    if data:
        data[draw.randrange(min(within, len(data)))] ^= 1 << draw.randrange(8)
    return bytes(data)
