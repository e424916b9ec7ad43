"""The identity of the preprocessing."""

import hashlib
import re

from nasfeat_server.imaging import decode


def test_it_is_a_digest_that_knows_the_size() -> None:
    """Equal for equal sizes, different for different ones, and of the usual form."""
    digest = decode.preprocessing_digest(331, 331)
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest)
    assert digest == decode.preprocessing_digest(331, 331)
    assert len({digest, decode.preprocessing_digest(224, 331), decode.preprocessing_digest(331, 224)}) == 3


def test_changing_the_preprocessing_on_purpose_is_noticed() -> None:
    """The text is pinned: whoever edits it makes vectors incomparable to stored ones, and should mean to."""
    # Made with `sha256sum` from the text as of the first release.
    pinned = "b7deb670e15d941918eda82588e03234da8d480c165bc0283fad9695c0a68f2d"
    assert hashlib.sha256(decode._DESCRIPTION.encode()).hexdigest() == pinned
