"""What observes is run from the root of the checkout, and so imported from there."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
