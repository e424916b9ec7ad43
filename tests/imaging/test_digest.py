"""The identity of the preprocessing."""

import hashlib
import re

from nasfeat_server.imaging import decode
from nasfeat_server.imaging.framing import Framing


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
