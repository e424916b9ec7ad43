"""Attacks on the connection: bytes that are no HTTP/2, or nearly; each ends when the server has let go of it."""

import asyncio
import contextlib
import random
import socket
import struct

from tests.fuzz import samples, wire_mutation
from tests.fuzz.port import http2

_SERVICE = b"/nasfeat.v1.FeatureService/"
_METHODS = (b"ExtractFeatures", b"StreamFeatures", b"GetModel", b"ListModels", b"Nothing")
_ODD_HEADERS = (
    (b"content-type", b"text/html"),
    (b"content-type", b"application/grpc+thrift"),
    (b"grpc-encoding", b"lzma"),
    (b"grpc-encoding", b"gzip"),
    (b"grpc-timeout", b"99999999999999999999H"),
    (b"grpc-timeout", b"-1S"),
    (b"grpc-timeout", b"1n"),
    (b"content-length", b"-5"),
    (b"te", b"gzip"),
    (b"x-bin", b"\xff\x00not base64"),
    (b"x-bin", b"!!!!"),
    (b"authorization", b"Bearer \xf0\x9f"),
    (b"x" * 300, b"y" * 3000),
    (b":path", b"/again"),
    (b"Upper-Case", b"1"),
    (b"connection", b"upgrade"),
    (b"", b""),
)


async def garbage(target: str, draw: random.Random) -> None:
    """Bytes by chance, sometimes behind what HTTP begins with."""
    begin = draw.choice((b"", b"", http2.PREFACE, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"))
    await send(target, begin + draw.randbytes(draw.randrange(1, 5000)))


async def frames(target: str, draw: random.Random) -> None:
    """A call whose frames are damaged."""
    await send(target, http2.mutated(_call(draw, _headers(draw)), draw))


async def headers(target: str, draw: random.Random) -> None:
    """A call with headers and flags that are odd, in right frames."""
    odd = [*_headers(draw), *draw.sample(_ODD_HEADERS, draw.randint(1, 3))]
    if draw.random() < 0.5:
        del odd[draw.randrange(len(odd))]
    if draw.random() < 0.2:
        draw.shuffle(odd)
    await send(target, _call(draw, odd))


async def abandoned(target: str, draw: random.Random) -> None:
    """A call that breaks off anywhere: half closed, or reset."""
    sent = _call(draw, _headers(draw))
    await send(target, sent[: draw.randrange(len(sent))], reset=draw.random() < 0.5)


def _headers(draw: random.Random) -> list[tuple[bytes, bytes]]:
    return [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", _SERVICE + draw.choice(_METHODS)),
        (b":authority", b"localhost"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"grpc-timeout", b"5S"),
    ]


def _call(draw: random.Random, sent: http2.Headers) -> bytes:
    kinds = (*samples.extractions(), *samples.stream_messages())
    messages = [message.SerializeToString() for message in draw.choices(kinds, k=draw.randint(0, 4))]
    body = b"".join(_framed(message, draw) for message in messages)
    return http2.conversation(sent, body, end=draw.random() < 0.8)


def _framed(message: bytes, draw: random.Random) -> bytes:
    """Put a message behind its length and its flag of compression; one in four is damaged, and so is one length."""
    if draw.random() < 0.25:
        message = wire_mutation.mutated(message, draw)
    length = len(message) if draw.random() < 0.75 else draw.choice((0, 1, len(message) + 1, 2**31, 2**32 - 1))
    return struct.pack(">BI", draw.choice((0, 0, 0, 0, 1, 2, 255)), length) + message


async def send(target: str, sent: bytes, *, reset: bool = False) -> None:
    """Send, and return when the server has let go of the connection; or reset it."""
    host, _, port = target.rpartition(":")
    with contextlib.suppress(OSError):  # The server may be first to close.
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(sent)
            await writer.drain()
            if reset:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
                return
            writer.write_eof()
            while await reader.read(2**16):
                pass
        finally:
            writer.close()
            await writer.wait_closed()
