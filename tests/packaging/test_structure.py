"""Nothing grows beyond what a reader takes in at once."""

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST_FILE, LONGEST_FUNCTION = 300, 50
SOURCES = sorted(
    path for folder in ("client", "server", "deploy", "examples", "tests") for path in (ROOT / folder).rglob("*.py")
)


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Give the name and the number of lines of every function of a file, from `def` to its last line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            yield node.name, node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_short(path: Path) -> None:
    """No file is over 300 lines, no function over 50."""
    assert len(path.read_text().splitlines()) <= LONGEST_FILE
    assert [(name, lines) for name, lines in functions(path) if lines > LONGEST_FUNCTION] == []


def test_most_functions_are_small() -> None:
    """Of the product's own functions, half have ten lines at most and nine in ten have under 28."""
    lengths = [lines for path in SOURCES if not path.is_relative_to(ROOT / "tests") for _, lines in functions(path)]
    assert statistics.median(lengths) <= 10
    assert statistics.quantiles(lengths, n=10)[-1] < 28
