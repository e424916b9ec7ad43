"""`make peers` is a benchmark, and its modules are found from where benchmarks are."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
