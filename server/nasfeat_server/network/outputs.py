"""What can be asked of a network: its end points, and the averages of those that are maps."""

from collections.abc import Mapping
from types import MappingProxyType

from nasfeat_server.network.layers import endpoint_shapes
from nasfeat_server.network.spec import NetworkSpec

FEATURE_VECTOR = "global_pool"
LOGITS = "Logits"
PREDICTIONS = "Predictions"
MEAN = "/mean"
"""Behind the name of a spatial map: its average over all pixels."""

SIGNATURES: Mapping[str, str] = MappingProxyType(
    {"image_feature_vector": FEATURE_VECTOR, "image_classification": LOGITS}
)
"""The output that each of TF-Hub's common image signatures gives by default."""

_VECTORS = (FEATURE_VECTOR, LOGITS, PREDICTIONS)


def output_shapes(spec: NetworkSpec, *, classifier: bool) -> dict[str, tuple[int, ...]]:
    """Name every output with its shape for one image, the feature vector first.

    Returns:
        `global_pool` [F]; with a classifier `Logits` and `Predictions` [classes]; then for each activation, from the
        input to the end, its map [H, W, C] and its average [C].
    """
    shapes = endpoint_shapes(spec)
    outputs = {name: shapes.pop(name) for name in _VECTORS}
    for name, shape in shapes.items():
        outputs |= {name: shape, name + MEAN: shape[-1:]}
    return {name: shape for name, shape in outputs.items() if classifier or name not in (LOGITS, PREDICTIONS)}
