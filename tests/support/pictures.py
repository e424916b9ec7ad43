"""Picture files made by hand, where no library would make them or it would take too long."""

import struct
import zlib


def png(width: int, height: int, pixels: bytes = b"") -> bytes:
    """Make a PNG of one gray byte a pixel, whose pixel data is `pixels`, compressed already."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def black(width: int, height: int) -> bytes:
    """Compress the rows of a black picture, a row at a time."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1 + width)) for _ in range(height)) + packer.flush()
