"""A network with its weights, for a notebook: images in, features and end points out."""

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from nasfeat_server.network.model import assign, build_model
from nasfeat_server.network.spec import NetworkSpec
from nasfeat_server.network.weights.values import Weights

Array = npt.NDArray[np.float32]


def network_of(weights: Weights) -> "Network":
    """Build the network that `weights` are of, and give it them."""
    model = build_model(weights.spec, classifier=weights.has_classifier)
    assign(model, weights.variables)
    return Network(weights, model)


class Network:
    """A network with its weights, for use in a notebook or as the reference that engines are tested against.

    Attributes:
        spec: which network it is.
        model: the Keras model; its outputs are the end points by name.
        labels: the names of the classes, in the order of `Logits`; empty if there are none.
        weights_digest: "sha256:<hex>" over every variable's name, shape and float32 values.
        trained: False for random weights.
    """

    def __init__(self, weights: Weights, model: keras.Model) -> None:
        """Wrap `model`, made by `build_model` and given `weights`."""
        self.spec: NetworkSpec = weights.spec
        self.model = model
        self.labels = weights.labels
        self.weights_digest = weights.digest
        self.trained = weights.trained
        # Graphs, since Keras would call its thousand layers one by one; None, so that any N shares one graph.
        images = tf.TensorSpec(model.input.shape, tf.float32)
        features = keras.Model(model.input, model.output["global_pool"])
        self._features = tf.function(lambda x: features(x, training=False), input_signature=[images])
        self._endpoints = tf.function(lambda x: model(x, training=False), input_signature=[images])

    def __repr__(self) -> str:
        return f"<Network {self.spec.name} {self.weights_digest[:14]} trained={self.trained}>"

    def features(self, images: Array) -> Array:
        """Compute the feature vectors, float32 [N, feature_length], of float32 images [N, size, size, 3] in 0..1.

        Raises:
            ValueError: the images are of another type, shape or range.
        """
        result: Array = self._features(self._checked(images)).numpy()
        return result

    def endpoints(self, images: Array) -> dict[str, Array]:
        """Compute every end point by TF-Slim's name; `walk.walk` lists them. Takes images as `features` does."""
        return {name: value.numpy() for name, value in self._endpoints(self._checked(images)).items()}

    def _checked(self, images: Array) -> Array:
        size = self.spec.image_size
        if images.dtype != np.float32 or images.ndim != 4 or images.shape[1:] != (size, size, 3) or not len(images):
            expected = f"float32 [N, {size}, {size}, 3]"
            raise ValueError(f"images must be {expected}, not {images.dtype} {list(images.shape)}")
        if not (images.min() >= 0 and images.max() <= 1):
            raise ValueError(f"images must be in 0..1, and reach from {images.min()} to {images.max()}")
        return images
