"""CPU cores shared out among processes that know nothing of each other."""

import os
import subprocess
import sys
from pathlib import Path

from nasfeat_server.engine.claims import CoreClaims, pin


def test_cores_are_claimed_once_and_come_back(tmp_path: Path) -> None:
    """Two claims never share a core; where there are too few left, none is taken and the system chooses."""
    cores = sorted(os.sched_getaffinity(0))
    first, second = CoreClaims(tmp_path), CoreClaims(tmp_path)
    assert first.claim(1) == (cores[0],)
    assert second.claim(len(cores)) == ()
    assert second.claim(len(cores) - 1) == tuple(cores[1:])
    first.release()
    second.release()
    assert first.claim(1) == (cores[0],)
    first.release()


def test_a_process_lets_go_however_it_ends(tmp_path: Path) -> None:
    """Nothing is left of a claim whose process was killed."""
    program = (
        "import os, sys, pathlib; from nasfeat_server.engine.claims import CoreClaims; "
        "claims = CoreClaims(pathlib.Path(sys.argv[1])); print(*claims.claim(1), flush=True); os.kill(os.getpid(), 9)"
    )
    dead = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=False)
    claims = CoreClaims(tmp_path)
    assert (int(dead.stdout),) == claims.claim(1)
    claims.release()


def test_no_cores_leave_a_thread_where_it_is() -> None:
    """As where the claim found too few."""
    before = os.sched_getaffinity(0)
    pin(())
    assert os.sched_getaffinity(0) == before
