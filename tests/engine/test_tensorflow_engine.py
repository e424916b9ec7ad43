"""The TensorFlow engine serves the network that the checkpoint holds."""

import json
from pathlib import Path

import numpy as np
import pytest

from nasfeat_server import network
from nasfeat_server.engine.interface import EngineOptions, ModelDescription
from nasfeat_server.errors import WeightsError
from nasfeat_server.network.spec import NetworkSpec
from nasfeat_server.network.weights.locate import locate

ORACLE = Path(__file__).parents[1] / "data" / "oracle"


VECTOR = ("global_pool",)


def options(weights: str, variant: str | NetworkSpec = "large") -> EngineOptions:
    """Options of a CPU replica."""
    return EngineOptions(
        engine="tensorflow",
        model=locate(weights, variant),
        run_module_graph=False,
        cores=(),
        batch_buckets=(1, 2, 4),
    )


def tiny(name: str) -> tuple[NetworkSpec, str]:
    """The spec and the checkpoint of a small network."""
    folder = ORACLE / name
    return NetworkSpec(**json.loads((folder / "spec.json").read_text())), str(folder / "model.ckpt")


@pytest.mark.parametrize("name", ["tiny_mobile", "tiny_large", "tiny_cifar"])
def test_features_are_the_originals(name: str) -> None:
    """On bytes, in every batch size, the engine agrees with the Keras model that is tested against the original."""
    from nasfeat_server.engine.engines.tensorflow import TensorFlowEngine

    spec, checkpoint = tiny(name)
    engine = TensorFlowEngine(options(checkpoint, spec))
    engine.load()
    images = np.random.default_rng(0).integers(0, 256, (4, spec.image_size, spec.image_size, 3), np.uint8)
    expected = network.load(checkpoint, spec).features(images.astype(np.float32) / np.float32(255))
    for size in (1, 2, 4):
        engine.warm_up(size)
        features = engine.run(images[:size], VECTOR)["global_pool"]
        assert features.dtype == np.float32
        assert features.shape == (size, spec.feature_length)
        assert np.linalg.norm(features - expected[:size]) < 1e-4 * np.linalg.norm(expected[:size])
        np.testing.assert_allclose(features, expected[:size], rtol=1e-3, atol=1e-4)


def test_padding_changes_no_feature() -> None:
    """The black images that fill a batch leave the others as they are."""
    from nasfeat_server.engine.engines.tensorflow import TensorFlowEngine

    spec, checkpoint = tiny("tiny_mobile")
    engine = TensorFlowEngine(options(checkpoint, spec))
    engine.load()
    images = np.random.default_rng(1).integers(0, 256, (4, 96, 96, 3), np.uint8)
    images[3] = 0
    full, part = (engine.run(batch, VECTOR)["global_pool"] for batch in (images, images[:2]))
    np.testing.assert_allclose(full[:2], part, rtol=1e-3, atol=1e-4)


def test_description_is_of_what_was_loaded() -> None:
    """The engine names the network, and its weights by digest and by source."""
    from nasfeat_server.engine.engines.tensorflow import TensorFlowEngine

    spec, checkpoint = tiny("tiny_cifar")
    description = TensorFlowEngine(options(checkpoint, spec)).load()
    assert (description.name, description.precision) == ("tiny_cifar", "fp32")
    assert (description.image_height, description.image_width, description.wiring) == (32, 32, "slim")
    assert description.output_shapes["global_pool"] == (96,)
    assert (description.weights_source, description.trained) == (checkpoint, True)
    assert description.weights_digest == network.load(checkpoint, spec).weights_digest
    assert not TensorFlowEngine(options("random:0", spec)).load().trained


def test_what_cannot_be_loaded_is_a_configuration_error() -> None:
    """Wrong weights are refused in the words of the network package."""
    from nasfeat_server.engine.engines.tensorflow import create

    with pytest.raises(WeightsError, match="does not hold nasnet_cifar"):
        create(options(str(ORACLE / "tiny_cifar"), variant="cifar")).load()


@pytest.mark.large
def test_large() -> None:
    """The full-size network, from random weights, agrees with its Keras model."""
    from nasfeat_server.engine.engines.tensorflow import create

    engine = create(options("random:0"))
    description: ModelDescription = engine.load()
    assert description.output_shapes["global_pool"] == (4032,)
    images = np.random.default_rng(2).integers(0, 256, (2, 331, 331, 3), np.uint8)
    expected = network.load("random:0").features(images.astype(np.float32) / np.float32(255))
    np.testing.assert_allclose(
        engine.run(images, VECTOR)["global_pool"], expected, rtol=1e-3, atol=1e-3 * float(expected.std())
    )


def test_a_batch_too_large_for_the_memory_is_told_as_such() -> None:
    """TensorFlow's own error of an allocation that fails becomes MemoryError, in one line, and the engine lives."""
    import tensorflow as tf

    from nasfeat_server.engine.engines.tensorflow import TensorFlowEngine

    spec, checkpoint = tiny("tiny_cifar")
    engine = TensorFlowEngine(options(checkpoint, spec))
    engine.load()
    images = np.zeros((1, spec.image_size, spec.image_size, 3), np.uint8)
    sound = engine._compute
    # 2 EiB: no machine has them, so that the allocator of this very device refuses.
    engine._compute = lambda _images, _outputs: {"global_pool": tf.zeros((2**59,)) + 1.0}
    with pytest.raises(MemoryError, match="OOM when allocating") as caught:
        engine.run(images, VECTOR)
    assert "\n" not in str(caught.value)
    engine._compute = sound
    engine.run(images, VECTOR)
