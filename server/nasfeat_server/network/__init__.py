"""NASNet-A: one definition, its weights, and what is made of both.

TensorFlow is imported when a network is built, not with this package.
"""

from typing import TYPE_CHECKING

from nasfeat_server.network.spec import VARIANTS, NetworkSpec, find_spec

if TYPE_CHECKING:
    import keras

    from nasfeat_server.network.model import Network

__all__ = ["VARIANTS", "NetworkSpec", "build", "load"]


def load(source: str, variant: str | NetworkSpec = "large") -> "Network":
    """Build a network with the weights of `source`.

    Args:
        source: `published`, `hub:HANDLE`, the path of a TF-Slim checkpoint or TF1 Hub module, or `random:SEED`.
        variant: a key of `VARIANTS`, or the spec of another network of the family.

    Returns:
        A network with `features(images)` and `endpoints(images)`, over float32 images [N, H, W, 3] in 0..1.

    Raises:
        ConfigurationError: there is no such variant.
        WeightsError: the weights cannot be had or do not fit.
    """
    from nasfeat_server.network.model import Network, assign, build_model  # noqa: PLC0415 - brings TensorFlow
    from nasfeat_server.network.weights import load_weights  # noqa: PLC0415 - not needed to describe a network

    spec = find_spec(variant)
    weights = load_weights(source, spec)
    model = build_model(spec, classifier="final_layer/FC/weights" in weights.variables)
    assign(model, weights.variables)
    return Network(spec, model, weights_digest=weights.digest, trained=weights.trained)


def build(spec: NetworkSpec) -> "keras.Model":
    """Build `spec` as a Keras model with fresh weights, over float32 images [N, H, W, 3] in 0..1, to all end points."""
    from nasfeat_server.network.model import build_model  # noqa: PLC0415 - brings TensorFlow

    return build_model(spec)
