"""What fuzzing found worth keeping, once more: without atheris, as fast as any other test."""

import pytest
from tests.fuzz import corpus
from tests.fuzz.catalog import TARGETS

_MOST_FILES, _MOST_BYTES = 500, 300_000


@pytest.mark.parametrize("name", TARGETS)
def test_every_kept_input_is_taken_or_refused(name: str) -> None:
    """Row 29: by the check of its target, which raises whatever must not happen; so are the seeds."""
    target, paths = TARGETS[name], list(corpus.kept(name))
    assert paths
    with target.open() as check:
        for data in (*target.seeds(), *(path.read_bytes() for path in paths)):
            check(data)


def test_the_corpus_is_small() -> None:
    """It is for the repository to carry: a few hundred files, three hundred kilobytes, no target that is none."""
    paths = [path for path in corpus.FOLDER.rglob("*") if path.is_file()]
    assert len(paths) <= _MOST_FILES
    assert sum(path.stat().st_size for path in paths) <= _MOST_BYTES
    assert {path.parent.name for path in paths} == set(TARGETS)
