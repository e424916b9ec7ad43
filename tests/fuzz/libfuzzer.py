"""Runs one target's harness, and reads what libFuzzer says of it."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.result import Result
from tests.fuzz.target import Target

ROOT = Path(__file__).parents[2]
INPUT_S = 10
"""Seconds after which an input counts as one that hangs."""
MEMORY_MIB = 1024
"""Of a whole harness; beyond it the input at hand counts as one that breaks it."""
_SAY_EVERY_S = 20.0
_PROGRESS = re.compile(r"^#(\d+)\s.*?cov: (\d+)", re.MULTILINE)
_DONE = re.compile(r"^Done \d+ runs in (\d+) second", re.MULTILINE)
_BROKEN = re.compile(r"Uncaught Python exception: ===\n(.*)|(ERROR: libFuzzer: .*)")
_ARTIFACT = re.compile(r"Test unit written to (\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How long, from which seed; `folder` gets logs, new inputs and those that break something."""

    seconds: int
    seed: int
    folder: Path


def fuzz(target: Target, budget: Budget, corpora: Sequence[Path], say: Callable[[str], None]) -> Result:
    """Fuzz `target` until the time is up or something breaks."""
    folder = budget.folder / target.name
    found, seeds = folder / "corpus", folder / "seeds"
    for made in (found, seeds):
        made.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (seeds / f"seed-{number:02}").write_bytes(seed)
    flags = [f"-max_total_time={budget.seconds}", f"-seed={budget.seed}", "-print_final_stats=1"]
    if target.words:
        words = folder / "words.txt"
        words.write_text("".join(map(_quoted, target.words)))
        flags.append(f"-dict={words}")
    log = folder / "log.txt"
    began_at = time.monotonic()
    status = run(target.name, (*flags, *bounds(folder), *map(str, (found, seeds, *corpora))), log, say)
    return read(target.name, log.read_text(errors="replace"), status=status, seconds=time.monotonic() - began_at)


def _quoted(word: bytes) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n'


def bounds(folder: Path) -> tuple[str, ...]:
    """Give the flags that say what an input may cost, and where one goes that costs more."""
    return (f"-timeout={INPUT_S}", f"-rss_limit_mb={MEMORY_MIB}", f"-artifact_prefix={folder}/")


def run(name: str, flags: Sequence[str], log: Path, say: Callable[[str], None]) -> int:
    """Run a harness to its end, its output in a file; gives its exit status."""
    command = (sys.executable, "-m", "tests.fuzz.harness", name, *flags)
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with (
        log.open("wb") as file,
        subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}
        ) as process,
    ):
        try:
            while True:
                try:
                    return process.wait(_SAY_EVERY_S)
                except subprocess.TimeoutExpired:
                    say(f"  {name}: {' '.join(log.read_text(errors='replace').splitlines()[-1:])[:110]}")
        finally:
            process.kill()


def read(name: str, log: str, *, status: int, seconds: float) -> Result:
    """Read the log of a harness that ended with `status` after so many seconds, its start included."""
    progress, done = _PROGRESS.findall(log), _DONE.search(log)
    broken = []
    if status:
        what = _BROKEN.search(log)
        told = (what[1] or what[2]) if what else f"the harness ended with {status}"
        kept = _ARTIFACT.search(log)
        broken.append(f"{told} ({kept[1]})" if kept else told)
    hung = any("libFuzzer: timeout" in one for one in broken)
    return Result(
        target=name,
        inputs=_statistic(log, "number_of_executed_units"),
        seconds=float(done[1]) if done else seconds,
        edges=int(progress[-1][1]) if progress else 0,
        found=_statistic(log, "new_units_added"),
        crashes=() if hung else tuple(broken),
        hangs=tuple(broken) if hung else (),
        peak_mib=_statistic(log, "peak_rss_mb"),
    )


def _statistic(log: str, name: str) -> int:
    found = re.search(rf"stat::{name}:\s+(\d+)", log)
    return int(found[1]) if found else 0
