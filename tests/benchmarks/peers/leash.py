"""Run a program so that none of its processes is lost: `leash.py PROGRAM ARGUMENT ...`.

What the program leaves behind, as daemons are, stays below it in the tree of processes, where it is counted and ended.
The program ends when whoever started it does, however that came.
"""

import ctypes
import os
import signal
import sys

_SET_PARENT_DEATH_SIGNAL = 1
_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """Become the program."""
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL), (_SET_CHILD_SUBREAPER, 1)):
        if libc.prctl(option, int(value), 0, 0, 0):
            raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - it is what this program is for


if __name__ == "__main__":
    main()
