"""Where weights come from, and what they are once here: arrays by TF-Slim's variable names."""

from pathlib import Path

from nasfeat_server.network.spec import NetworkSpec
from nasfeat_server.network.weights.values import Located, Report, Weights, digest

__all__ = ["Located", "Report", "Weights", "digest", "load_weights"]


def load_weights(
    source: str,
    variant: str | NetworkSpec | None = None,
    *,
    keras_wiring: bool = False,
    report: Report = print,
    cache_dir: Path | None = None,
) -> Weights:
    """Find and read the weights that `source` names; see `locate` and `read_weights`."""
    from nasfeat_server.network.weights.locate import locate  # noqa: PLC0415
    from nasfeat_server.network.weights.read import read_weights  # noqa: PLC0415

    return read_weights(locate(source, variant, keras_wiring=keras_wiring, report=report, cache_dir=cache_dir))
