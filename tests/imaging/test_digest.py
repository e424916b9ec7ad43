"""The identity of the preprocessing."""

import dataclasses
import hashlib
import re
from typing import Any

from nasfeat_server.imaging import decode
from nasfeat_server.imaging.digest import SameImage
from nasfeat_server.imaging.framing import Framing
from nasfeat_server.imaging.types import PixelFormat, RawPixels


def test_it_is_a_digest_that_knows_the_size() -> None:
    """Equal for equal sizes, different for different ones, and of the usual form."""
    digest = decode.preprocessing_digest(331, 331)
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest)
    assert digest == decode.preprocessing_digest(331, 331)
    cropped = decode.preprocessing_digest(331, 331, Framing.parse("center_crop:0.875"))
    assert len({digest, cropped, decode.preprocessing_digest(224, 331), decode.preprocessing_digest(331, 224)}) == 4


def test_changing_the_preprocessing_on_purpose_is_noticed() -> None:
    """The text is pinned: whoever edits it makes vectors incomparable to stored ones, and should mean to."""
    # Made with `sha256sum` from the text.
    pinned = "a93c728179dbf48a16067fcb3052482da71c395b5766f591f82c2c5542acfe1c"
    assert hashlib.sha256(decode._DESCRIPTION.encode()).hexdigest() == pinned


def raw(data: bytes, **layout: Any) -> RawPixels:
    """An image of 16 x 16 pixels."""
    plain = RawPixels(data=data, pixel_format=PixelFormat.RGB8, height=16, width=16)
    return dataclasses.replace(plain, **layout)


def test_images_are_the_same_by_every_byte_and_by_their_layout() -> None:
    """Wherever a byte differs, whether the hash has looked at it or not, and however the bytes are read."""
    data = bytes(range(256)) * 3
    same = SameImage(raw(data))
    assert same == SameImage(raw(bytes(bytearray(data))))
    assert hash(same) == hash(SameImage(raw(bytes(bytearray(data)))))
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        assert same != SameImage(raw(bytes(changed))), at
    assert same != SameImage(raw(data, pixel_format=PixelFormat.BGR8))
    assert same != SameImage(raw(data, height=8, width=32))
    assert same != SameImage(data)
    assert SameImage(data) == SameImage(bytes(bytearray(data)))
    assert SameImage(b"") != SameImage(b"1")
