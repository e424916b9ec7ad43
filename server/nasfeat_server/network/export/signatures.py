"""What the signatures of TensorFlow modules give, and what makes their training what the original's was."""

from collections.abc import Iterable, Mapping
from typing import Any

from nasfeat_server.network.outputs import FEATURE_VECTOR, LOGITS
from nasfeat_server.network.spec import NetworkSpec

STATISTICS = ("/moving_mean", "/moving_variance")
"""How the names of variables end that training updates otherwise than by gradients."""

_VECTORS = ("/gamma", "/beta", "/biases", *STATISTICS)


def signatures(endpoints: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Arrange end points as TF-Hub's common signatures for images, by name.

    Returns:
        `default` gives the feature vector as `default`. `image_feature_vector` has every end point beside it, by
        TF-Slim's name. `image_classification`, if there are logits, gives them as `default` and `logits`, with every
        end point.
    """
    features = {"default": endpoints[FEATURE_VECTOR]}
    named = {"default": features, "image_feature_vector": {**endpoints, **features}}
    if LOGITS in endpoints:
        logits = endpoints[LOGITS]
        named["image_classification"] = {**endpoints, "default": logits, "logits": logits}
    return named


def decayed(names: Iterable[str]) -> list[str]:
    """Pick the variables that weight decay applies to: every kernel, depthwise ones too, and no vector."""
    return [name for name in names if not name.endswith(_VECTORS)]


def weight_decay(spec: NetworkSpec) -> float:
    """Say by what the sum of the kernels' squares, halved, adds to the loss in the original's recipe."""
    if spec.family == "cifar":
        return 5e-4
    # The field in which Large differs from Mobile, whatever their sizes.
    return 5e-5 if spec.skip_reduction_layer_input else 4e-5
