"""Every failure that is to be survived has a test that makes it happen."""

import re
from pathlib import Path

_DEMANDED = {*range(1, 31)}


def test_every_row_has_a_test() -> None:
    """The docstrings of the tests in this folder name the rows that they are of."""
    named = {
        int(number)
        for path in Path(__file__).parent.glob("test_*.py")
        for number in re.findall(r'^    """Row (\d+):', path.read_text(), re.MULTILINE)
    }
    assert named >= _DEMANDED
