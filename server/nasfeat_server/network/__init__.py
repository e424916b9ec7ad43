"""NASNet-A: one definition, its weights, and what is made of both.

TensorFlow is imported when a network is built, not with this package.
"""

import sys
from typing import TYPE_CHECKING

from nasfeat_server.network.spec import VARIANTS, NetworkSpec, find_spec

if TYPE_CHECKING:
    import keras

    from nasfeat_server.network.inference import Network

# OpenVINO reports its use from a fork of the process, which holds TensorFlow's threads and locks by then: the copy may
# never wake. Without this package it reports nothing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

__all__ = ["VARIANTS", "NetworkSpec", "build", "find_spec", "load"]


def load(source: str, variant: str | NetworkSpec | None = None, *, keras_wiring: bool = False) -> "Network":
    """Build a network with the weights of `source`.

    Args:
        source: as `nasfeat-server --weights` takes it: `published`, `hub:HANDLE`, a path, a URL or `random:SEED`.
        variant: a key of `VARIANTS`, or the spec of another network of the family; None takes the module's own, or
            `large` where it has none.
        keras_wiring: pool as keras.applications does; see `NetworkSpec.wiring`.

    Returns:
        A network with `features(images)` and `endpoints(images)`, over float32 images [N, H, W, 3] in 0..1.

    Raises:
        ConfigurationError: there is no such variant.
        WeightsError: the weights cannot be had or do not fit.
    """
    from nasfeat_server.network.inference import network_of  # noqa: PLC0415 - brings TensorFlow
    from nasfeat_server.network.weights import load_weights  # noqa: PLC0415 - not needed to describe a network

    return network_of(load_weights(source, variant, keras_wiring=keras_wiring))


def build(spec: str | NetworkSpec) -> "keras.Model":
    """Build `spec` as a Keras model with fresh weights, over float32 images [N, H, W, 3] in 0..1, to all end points."""
    from nasfeat_server.network.model import build_model  # noqa: PLC0415 - brings TensorFlow

    return build_model(find_spec(spec))
