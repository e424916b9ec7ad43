"""Files that must be refused, each with a message that helps its sender."""

import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nasfeat_server.errors import InvalidImageError
from nasfeat_server.imaging.decode import decode_into
from nasfeat_server.imaging.types import ImageLimits
from pictures import black, png

Pixels = npt.NDArray[np.uint8]
SIGNATURES = [
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"II+\0",
    b"RIFF\x10\0\0\0WEBP",
]


def test_no_bytes(decode: Any) -> None:
    """Nothing is not a picture."""
    with pytest.raises(InvalidImageError, match=r"^image is empty: 0 bytes$"):
        decode(b"")


@pytest.mark.parametrize("data", [b"hello, this is text", b"\0" * 1000, b"%PDF-1.7", b"<svg/>", b"RIFF\0\0\0\0WAVE"])
def test_other_files(data: bytes, decode: Any) -> None:
    """What is no picture of the formats taken is told which those are."""
    with pytest.raises(InvalidImageError, match=r"^not an image: none of JPEG, PNG, WebP, GIF, BMP, TIFF$"):
        decode(data)


@pytest.mark.parametrize("kind", ["ICO", "PPM", "TGA", "JPEG2000", "EPS"])
def test_formats_that_pillow_knows_and_the_server_does_not_take(
    kind: str, photo: Pixels, decode: Any, save: Any
) -> None:
    """Pillow's rarer decoders are never reached."""
    with pytest.raises(InvalidImageError, match="none of JPEG"):
        decode(save(photo, kind))


def test_more_bytes_than_allowed(decode: Any) -> None:
    """Both sizes are told."""
    with pytest.raises(InvalidImageError, match=r"^image is 48\.2 MB, the limit is 16 MB$"):
        decode(bytes(48_200_000), max_bytes=16_000_000)


def test_one_byte_more_than_allowed(decode: Any) -> None:
    """Sizes that would round to the same number are told in bytes."""
    with pytest.raises(InvalidImageError, match=r"^image is 16000001 bytes, the limit is 16000000 bytes$"):
        decode(bytes(16_000_001), max_bytes=16_000_000)


def test_a_header_of_2500_megapixels(decode: Any) -> None:
    """A tiny file that announces 50,000 x 50,000 pixels is refused for that."""
    with pytest.raises(InvalidImageError, match=r"^image is 50000x50000 = 2500 megapixels, the limit is 50$"):
        decode(png(50_000, 50_000))


def test_pillows_own_limit_does_not_speak(decode: Any) -> None:
    """Under a limit of 100 megapixels, 90 of them neither warn nor fail as Pillow's process-wide limit would."""
    assert decode(png(9_000, 10_000, black(9_000, 10_000)), max_pixels=100_000_000).max() == 0


def test_a_bomb_takes_no_memory() -> None:
    """A true PNG of 400 megapixels is refused by its header: the process stays as small as it was."""
    program = (
        "import resource, sys, numpy as np\n"
        "from nasfeat_server.imaging.decode import decode_into\n"
        "from nasfeat_server.imaging.types import ImageLimits\n"
        "from nasfeat_server.errors import InvalidImageError\n"
        "data, out = sys.stdin.buffer.read(), np.zeros((331, 331, 3), np.uint8)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n"
        "    decode_into(data, out, ImageLimits(max_bytes=1 << 26, max_pixels=50_000_000))\n"
        "except InvalidImageError as error:\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)\n"
    )
    bomb = png(20_000, 20_000, black(20_000, 20_000))
    done = subprocess.run([sys.executable, "-c", program], input=bomb, capture_output=True, check=True)
    grown_kib, message = done.stdout.decode().strip().split(" ", 1)
    assert message == "image is 20000x20000 = 400 megapixels, the limit is 50"
    assert int(grown_kib) < 16_384


@pytest.mark.parametrize("kind", ["VP8X", "VP8L", "VP8 "])
def test_a_webp_of_too_many_pixels_is_refused_before_its_decoder_starts(kind: str, decode: Any) -> None:
    """All three kinds of WebP header are read before libwebp may allocate a canvas."""
    side = 16_000
    body = {
        "VP8X": bytes(4) + (side - 1).to_bytes(3, "little") * 2,
        "VP8L": b"\x2f" + (side - 1 | (side - 1) << 14).to_bytes(4, "little"),
        "VP8 ": bytes(3) + b"\x9d\x01\x2a" + side.to_bytes(2, "little") * 2,
    }[kind]
    chunk = kind.encode() + len(body).to_bytes(4, "little") + body
    data = b"RIFF" + (4 + len(chunk)).to_bytes(4, "little") + b"WEBP" + chunk
    with pytest.raises(InvalidImageError, match=r"^image is 16000x16000 = 256 megapixels, the limit is 50$"):
        decode(data)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "JPEG"])
def test_every_format_is_held_to_the_pixel_limit(kind: str, photo: Pixels, decode: Any, save: Any) -> None:
    """The limit is that of the server, whatever the format."""
    with pytest.raises(InvalidImageError, match=r"^image is 451x300 = 0\.1 megapixels, the limit is 100000$|135300"):
        decode(save(photo, kind), max_pixels=100_000)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_files(kind: str, share: float, photo: Pixels, decode: Any, save: Any) -> None:
    """A file cut short is an error that says so, never a picture that is half gray."""
    data = save(photo, kind)
    with pytest.raises(InvalidImageError, match="truncated"):
        decode(data[: int(len(data) * share)])


def test_a_truncated_jpeg_is_told_its_length(photo: Pixels, decode: Any, save: Any) -> None:
    """The number of bytes lets the sender compare."""
    with pytest.raises(InvalidImageError, match=r"^JPEG is truncated: the 9000 bytes end before its pixels do$"):
        decode(save(photo, "JPEG")[:9000])


def test_a_progressive_jpeg_that_is_truncated(photo: Pixels, decode: Any, save: Any) -> None:
    """Not even the coarse picture of the first scans is taken for the whole."""
    data = save(photo, "JPEG", progressive=True)
    with pytest.raises(InvalidImageError, match="JPEG is truncated"):
        decode(data[: len(data) // 2])


@pytest.mark.parametrize("signature", SIGNATURES)
def test_a_signature_alone(signature: bytes, decode: Any) -> None:
    """A file that ends after its first bytes is damaged, not a crash."""
    with pytest.raises(InvalidImageError, match=r"truncated or damaged|WebP is truncated"):
        decode(signature)


def test_pixels_without_an_agreed_white(decode: Any, save: Any) -> None:
    """Float TIFFs are refused: nobody knows what their 1.0 means."""
    with pytest.raises(InvalidImageError, match="TIFF has 32-bit or float pixels"):
        decode(save(Image.new("F", (4, 4)), "TIFF"))


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=400), signature=st.sampled_from([b"", *SIGNATURES]))
@pytest.mark.filterwarnings("ignore")
def test_random_bytes_raise_one_kind_of_error(data: bytes, signature: bytes) -> None:
    """Whatever follows a signature, the caller sees InvalidImageError or a picture."""
    out = np.zeros((8, 8, 3), np.uint8)
    try:
        decode_into(signature + data, out, ImageLimits(max_bytes=1 << 20, max_pixels=1 << 20))
    except InvalidImageError as error:
        assert str(error)  # noqa: PT017 - a picture is right as well


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@settings(max_examples=60, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=20))
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_raise_one_kind_of_error(
    kind: str, changes: list[tuple[int, int]], photo: Pixels, save: Any
) -> None:
    """Real files with a few bytes changed give InvalidImageError or a picture."""
    data = bytearray(save(photo[:40, :40], kind))
    for position, value in changes:
        data[position % len(data)] = value
    out = np.zeros((8, 8, 3), np.uint8)
    try:
        decode_into(bytes(data), out, ImageLimits(max_bytes=1 << 20, max_pixels=1 << 20))
    except InvalidImageError as error:
        assert str(error)  # noqa: PT017 - a picture is right as well
