"""Every engine serves the network that the checkpoint holds."""

import dataclasses
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines import engine_of, options_of
from nasfeat_server import network
from nasfeat_server.engine.engines.parts import read_description
from nasfeat_server.errors import WeightsError
from nasfeat_server.network.spec import NetworkSpec

ORACLE = Path(__file__).parents[1] / "data" / "oracle"
ENGINES = ("tensorflow", "openvino", "jax")
NETS = ("tiny_mobile", "tiny_large", "tiny_cifar")
VECTOR = ("global_pool",)


def tiny(name: str) -> tuple[str, NetworkSpec]:
    """The checkpoint and the spec of a small network."""
    folder = ORACLE / name
    return str(folder / "model.ckpt"), NetworkSpec(**json.loads((folder / "spec.json").read_text()))


def loaded(engine: str, name: str) -> Any:
    """An engine with a small network."""
    made = engine_of(options_of(engine, *tiny(name)))
    made.load()
    return made


def some_images(spec: NetworkSpec, count: int = 4) -> Any:
    """Noise, uint8 [count, H, W, 3]."""
    return np.random.default_rng(0).integers(0, 256, (count, spec.image_size, spec.image_size, 3), np.uint8)


# XLA takes long to compile for CPUs; all of its outputs on all nets are compared below.
@pytest.mark.parametrize(
    ("engine", "name"), [*itertools.product(("tensorflow", "openvino"), NETS), ("jax", "tiny_cifar")]
)
def test_features_are_the_originals(engine: str, name: str) -> None:
    """On bytes, in every batch size, an engine agrees with the Keras model that is tested against the original."""
    checkpoint, spec = tiny(name)
    made = loaded(engine, name)
    images = some_images(spec)
    expected = network.load(checkpoint, spec).features(images.astype(np.float32) / np.float32(255))
    for size in (1, 2, 4):
        made.warm_up(size)
        features = made.run(images[:size], VECTOR)["global_pool"]
        assert features.dtype == np.float32
        assert features.shape == (size, spec.feature_length)
        assert np.linalg.norm(features - expected[:size]) < 1e-4 * np.linalg.norm(expected[:size])
        np.testing.assert_allclose(features, expected[:size], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "name", [*(pytest.param(name, marks=pytest.mark.slow) for name in NETS if name != "tiny_cifar"), "tiny_cifar"]
)
@pytest.mark.parametrize("engine", ENGINES)
def test_every_output_is_the_networks_own(engine: str, name: str) -> None:
    """Maps come with channels last, averages beside them, logits and probabilities: all as the Keras model has them."""
    checkpoint, spec = tiny(name)
    options = options_of(engine, checkpoint, spec)
    made = engine_of(options)
    shapes = made.load().output_shapes
    images = some_images(spec, 2)
    expected = network.load(checkpoint, spec).endpoints(images.astype(np.float32) / np.float32(255))
    found = made.run(images, tuple(shapes))
    assert found.keys() == shapes.keys()
    for output, value in found.items():
        assert value.shape == (2, *shapes[output])
        map_name = output.removesuffix("/mean")
        wanted = expected[map_name].mean(axis=(1, 2)) if map_name != output else expected[output]
        assert np.linalg.norm(value - wanted) < 1e-4 * np.linalg.norm(wanted), output


@pytest.mark.parametrize("engine", ENGINES)
def test_an_image_has_the_same_features_in_any_company(engine: str) -> None:
    """What else is in a batch changes nothing."""
    _, spec = tiny("tiny_mobile")
    made = loaded(engine, "tiny_mobile")
    images = some_images(spec)
    full, part = (np.array(made.run(batch, VECTOR)["global_pool"]) for batch in (images, images[:2]))
    np.testing.assert_allclose(full[:2], part, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
def test_description_is_of_what_was_loaded(engine: str) -> None:
    """The engine names the network, and its weights by digest and by source."""
    checkpoint, spec = tiny("tiny_cifar")
    description = engine_of(options_of(engine, checkpoint, spec)).load()
    assert (description.name, description.precision) == ("tiny_cifar", "fp32")
    assert (description.image_height, description.image_width, description.wiring) == (32, 32, "slim")
    assert description.output_shapes["global_pool"] == (96,)
    assert (description.weights_source, description.trained) == (checkpoint, True)
    assert description.weights_digest == network.load(checkpoint, spec).weights_digest
    assert not engine_of(options_of(engine, "random:0", spec)).load().trained


def test_no_more_threads_compute_than_there_is_time_for() -> None:
    """OpenVINO's are those of the options, where these are fewer than the cores."""
    made = engine_of(options_of("openvino", *tiny("tiny_cifar"), threads=1))
    made.load()
    assert {one._model.get_property("INFERENCE_NUM_THREADS") for one in made._vectors.values()} == {1}


def test_what_cannot_be_prepared_is_a_configuration_error() -> None:
    """Wrong weights are refused in the words of the network package, before a replica sees them."""
    with pytest.raises(WeightsError, match="does not hold nasnet_cifar"):
        options_of("tensorflow", str(ORACLE / "tiny_cifar"), "cifar")


def test_a_prepared_model_that_was_deleted_is_told_as_such(tmp_path: Path) -> None:
    """A replica that starts again without its artifact says what to do."""
    options = options_of("openvino", *tiny("tiny_cifar"), artifact=str(tmp_path / "gone"))
    with pytest.raises(WeightsError, match="was deleted; start the server again"):
        read_description(options)


@pytest.mark.slow
def test_large() -> None:
    """The full-size network, from random weights, agrees with its Keras model; OpenVINO's is in tests/integration."""
    made = engine_of(options_of("tensorflow", "random:0"))
    assert made.load().output_shapes["global_pool"] == (4032,)
    images = np.random.default_rng(2).integers(0, 256, (2, 331, 331, 3), np.uint8)
    expected = network.load("random:0").features(images.astype(np.float32) / np.float32(255))
    features = made.run(images, VECTOR)["global_pool"]
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-3 * float(expected.std()))


@pytest.mark.slow
def test_a_batch_too_large_for_tensorflow_is_told_as_such() -> None:
    """TensorFlow's own error of an allocation that fails becomes MemoryError, in one line, and the engine lives."""
    import tensorflow as tf

    _, spec = tiny("tiny_cifar")
    engine = loaded("tensorflow", "tiny_cifar")
    images = some_images(spec, 1)
    sound = engine._compute
    # 2 EiB: no machine has them, so that the allocator of this very device refuses.
    engine._compute = lambda _images, _outputs: {"global_pool": tf.zeros((2**59,)) + 1.0}
    with pytest.raises(MemoryError, match="OOM when allocating") as caught:
        engine.run(images, VECTOR)
    assert "\n" not in str(caught.value)
    engine._compute = sound
    engine.run(images, VECTOR)


def test_batches_that_have_no_model_of_their_own_are_run_as_several(tmp_path: Path) -> None:
    """Where larger batches gain nothing only small ones are compiled, and every image gets its own features."""
    options = options_of("openvino", *tiny("tiny_mobile"))
    assert options.artifact
    artifact = shutil.copytree(options.artifact, tmp_path / "artifact")
    images = some_images(options.model.spec)
    found = []
    for sizes in ([1], [1, 2], [1, 2, 4]):
        (artifact / "sizes.json").write_text(json.dumps(sizes))
        engine = engine_of(dataclasses.replace(options, artifact=str(artifact)))
        engine.load()
        assert engine.max_batch_size == sizes[-1]
        found.append(np.array(engine.run(images, VECTOR)["global_pool"]))
    for features in found[1:]:
        np.testing.assert_allclose(features, found[0], rtol=1e-3, atol=1e-4)
    assert not np.allclose(found[0][0], found[0][1])
