"""Image files, through the entry that the server uses: the first byte chooses size and framing, the file follows."""

import contextlib
import io
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image
from tests.fuzz.target import Mutation, Target, expect_message

from nasfeat_server.errors import InvalidImageError
from nasfeat_server.imaging.decode import decode_into
from nasfeat_server.imaging.digest import SameImage, image_digest
from nasfeat_server.imaging.framing import Framing
from nasfeat_server.imaging.types import ImageLimits, RawPixels

SHAPES = ((8, 8), (33, 17), (1, 64), (96, 96))
FRAMINGS = tuple(Framing.parse(text) for text in ("stretch", "letterbox", "center_crop:0.875", "center_crop:0.001"))
# What is beyond is refused unread; a file of a few bytes may announce as much, and cost as much, as this allows.
LIMITS = ImageLimits(max_bytes=2**16, max_pixels=2**18)
_PNG = b"\x89PNG\r\n\x1a\n"
_MARGIN = 3
_KEY = bytes(32)


def decode(source: bytes | RawPixels, choice: int) -> None:
    """Decode, or be told why not; what is decoded depends on `source` alone and stays within its slot.

    Raises:
        AssertionError: it does not.
    """
    assert SameImage(source) == SameImage(source)
    assert len(image_digest(source, _KEY)) == 16
    height, width = SHAPES[choice % len(SHAPES)]
    framing = FRAMINGS[choice // len(SHAPES) % len(FRAMINGS)]
    seen = []
    for before in (0, 255):
        memory = np.full((height + 2 * _MARGIN, width, 3), before, np.uint8)
        slot = memory[_MARGIN:-_MARGIN]
        try:
            decode_into(source, slot, LIMITS, framing)
        except InvalidImageError as error:
            expect_message(error)
            seen.append(b"refused")
        else:
            seen.append(slot.tobytes())
        assert (memory[:_MARGIN] == before).all()
        assert (memory[-_MARGIN:] == before).all()
    assert seen[0] == seen[1], "the picture shows what was in memory before"


def _check(data: bytes) -> None:
    if data:
        decode(data[1:], data[0])


def _mutate(data: bytes, blindly: Mutation, largest: int, chance: int) -> bytes:
    """Let half of the mutated PNGs keep right checksums, since a wrong one is all that is read of a file."""
    changed = blindly(data, largest)
    return changed[:1] + _with_checksums(changed[1:]) if chance % 2 else changed


def _with_checksums(file: bytes) -> bytes:
    made, at = file[: len(_PNG)], len(_PNG)
    if made != _PNG:
        return file
    while at + 12 <= len(file):
        end = at + 8 + int.from_bytes(file[at : at + 4], "big")
        made += file[at:end] + zlib.crc32(file[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return made + file[at:]


def _seeds() -> Iterator[bytes]:
    for number, file in enumerate(_files()):
        yield bytes((number % (len(SHAPES) * len(FRAMINGS)),)) + file


def _files() -> Iterator[bytes]:
    """Give small pictures: each format, with all that the decoders tell apart."""
    rows, columns = np.mgrid[:19, :24]
    colours = Image.fromarray(np.stack([rows * 13, columns * 10, (rows ^ columns) * 8], axis=-1).astype(np.uint8))
    exif = Image.Exif()
    for mode in ("L", "RGB", "CMYK"):
        exif[0x0112] = 6
        yield _file(colours.convert(mode), "JPEG", exif=exif)
        yield _file(colours.convert(mode), "JPEG", progressive=True, icc_profile=b"not one")
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        yield _file(colours.convert("I" if mode == "I;16" else mode).convert(mode), "PNG")
    yield _file(colours.convert("P"), "PNG", transparency=3, exif=exif)
    for lossless in (True, False):
        yield _file(colours, "WEBP", lossless=lossless, exif=exif)
        yield _file(colours.convert("RGBA"), "WEBP", lossless=lossless, save_all=True, append_images=[colours])
    yield _file(colours.convert("P"), "GIF", save_all=True, append_images=[colours.rotate(90)], transparency=0)
    yield _file(colours.convert("L"), "GIF", interlace=1, comment=b"hello")
    for mode in ("1", "L", "P", "RGB"):
        yield _file(colours.convert(mode), "BMP")
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield _file(colours, "TIFF", compression=compression)
    for mode in ("1", "F", "CMYK", "I;16"):
        yield _file(colours.convert("I" if mode == "I;16" else mode).convert(mode), "TIFF", big_tiff=mode == "F")


def _file(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


TARGET = Target(
    name="images",
    what="JPEG, PNG, WebP, GIF, BMP and TIFF files: imaging/decode.py in every framing",
    open=lambda: contextlib.nullcontext(_check),
    seeds=_seeds,
    words=(
        *(b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"iCCP", b"eXIf", b"acTL", b"fdAT", b"zTXt", b"\xff\xd8\xff"),
        *(b"\xff\xe1", b"\xff\xee", b"\xff\xc2", b"\xff\xda", b"Exif\0\0", b"ICC_PROFILE\0", b"MPF\0", b"Adobe"),
        *(b"VP8 ", b"VP8L", b"VP8X", b"ANMF", b"ALPH", b"RIFF", b"GIF89a", b"!\xf9\4", b"!\xff\x0bNETSCAPE2.0"),
        *(b"II*\0", b"MM\0*", b"II+\0", b"BM"),
    ),
    mutate=_mutate,
)
