"""The inputs that are kept: few and small, together reaching all that any input reached, and all that ever broke."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.fuzz.libfuzzer import bounds, run
from tests.fuzz.target import Target

FOLDER = Path(__file__).parent / "corpus"
BROKE = "broke-"
"""How the name of an input begins that once broke something; merging keeps it."""


def kept(name: str) -> Iterator[Path]:
    """Give the committed inputs of a target."""
    return iter(sorted(path for path in (FOLDER / name).glob("*") if path.is_file()))


def merge(target: Target, folder: Path, say: Callable[[str], None]) -> int:
    """Keep of what was found in `folder` what reaches more than the rest, and no more; gives the exit status."""
    committed, merged = FOLDER / target.name, folder / target.name / "merged"
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir(parents=True)
    committed.mkdir(parents=True, exist_ok=True)
    sources = (folder / target.name / "seeds", committed, folder / target.name / "corpus")
    # By edges, and not by how often each is taken, which would keep several times as many.
    flags = ("-set_cover_merge=1", "-use_counters=0", *bounds(folder / target.name), str(merged), *map(str, sources))
    status = run(target.name, flags, folder / target.name / "merge.txt", say)
    if status == 0:
        for path in kept(target.name):
            if not path.name.startswith(BROKE):
                path.unlink()
        for path in merged.iterdir():
            shutil.copyfile(path, committed / path.name[:12])
    return status
