"""Modules load both ways: their variables into our network, and as the graph their makers saved, with equal results."""

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from modules import FEATURES, write_saved_model
from nasfeat_server.errors import WeightsError
from nasfeat_server.network.spec import VARIANTS
from nasfeat_server.network.weights import load_weights
from nasfeat_server.network.weights.locate import locate

if TYPE_CHECKING:
    from tests.network.conftest import Packer, Reference

HANDLE = "someone/tiny/1"
FOLDER = hashlib.sha1(f"https://tfhub.dev/{HANDLE}".encode(), usedforsecurity=False).hexdigest()


def distance(values: Any, expected: Any) -> float:
    """Measure the relative L2 distance."""
    return float(np.linalg.norm(values - expected) / np.linalg.norm(expected))


def pictures(reference: "Reference") -> Any:
    """The reference's images as a server has them, uint8 [N, H, W, 3]."""
    import tensorflow as tf

    return tf.constant(np.round(reference.arrays()["images"] * 255).astype(np.uint8))


def folded(reference: "Reference", source: str) -> dict[str, Any]:
    """Compute all end points of `source` with our own network, as it is served."""
    from nasfeat_server.network.folded.fold import fold
    from nasfeat_server.network.folded.tensor_operations import FoldedOperations
    from nasfeat_server.network.walk import walk

    weights = load_weights(source, reference.spec)
    operations = FoldedOperations(weights.spec, fold(weights.spec, dict(weights.variables)))
    return walk(weights.spec, operations, pictures(reference), classifier=weights.has_classifier)


@pytest.mark.parametrize("place", ["directory", "archive", "cache"])
def test_both_ways_to_run_a_tf1_module(
    tiny_cifar: "Reference", hub_module: Path, pack: "Packer", hub_cache: Path, tmp_path: Path, place: str
) -> None:
    """Our network and the module's own graph agree, from a directory, from an archive and out of TF-Hub's cache."""
    from nasfeat_server.network.module_graph import open_module_graph

    source = str(hub_module)
    if place == "archive":
        source = str(pack(hub_module))
    if place == "cache":
        shutil.copytree(hub_module, hub_cache / FOLDER)
        source = f"hub:{HANDLE}"
    located = locate(source, tiny_cifar.spec, cache_dir=tmp_path / "cache")
    module = open_module_graph(located)
    assert module.output_shapes == {"global_pool": (96,)}
    ours, theirs = folded(tiny_cifar, located.location), module.run(pictures(tiny_cifar), ["global_pool"])
    assert distance(ours["global_pool"], theirs["global_pool"]) < 1e-4


def test_the_training_graph_of_a_tf1_module(tiny_cifar: "Reference", hub_module: Path) -> None:
    """With the tag "train" the same variables give what the original gives in training, with the batch's statistics."""
    import tensorflow as tf

    from nasfeat_server.network.weights.hub import library

    images = tf.constant(tiny_cifar.arrays()["images"])
    theirs = library().load(str(hub_module), tags={"train"}).signatures["image_feature_vector"](images=images)
    with np.load(tiny_cifar.folder / "reference_train_mode.npz") as archive:
        assert distance(theirs["default"], archive["global_pool"]) < 1e-4


def test_a_saved_model(tiny_cifar: "Reference", tmp_path: Path) -> None:
    """SavedModels of TensorFlow 2 load both ways too."""
    from nasfeat_server.network.module_graph import open_module_graph

    variables = load_weights(tiny_cifar.checkpoint, tiny_cifar.spec).variables
    source = write_saved_model(tmp_path, tiny_cifar.spec, variables, {"image_feature_vector": FEATURES["default"]})
    theirs = open_module_graph(locate(str(source), tiny_cifar.spec)).run(pictures(tiny_cifar), ["global_pool"])
    assert distance(folded(tiny_cifar, str(source))["global_pool"], theirs["global_pool"]) < 1e-4


@pytest.mark.parametrize("source", ["random:0", "checkpoint", "keras"])
def test_what_has_no_graph(tiny_cifar: "Reference", tmp_path: Path, source: str) -> None:
    """Variables alone cannot be run."""
    from nasfeat_server.network.module_graph import open_module_graph

    (tmp_path / "weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    name = {"checkpoint": tiny_cifar.checkpoint, "keras": str(tmp_path / "weights.h5")}.get(source, source)
    with pytest.raises(WeightsError, match=r"has no graph of its own to run; modules have one: a directory with "):
        open_module_graph(locate(name, tiny_cifar.spec))


def write_trivial_module(directory: Path, *signatures: str) -> str:
    """Write a SavedModel that takes images of 96x96 and gives their means over all pixels."""
    import tensorflow as tf

    def compute(images: Any) -> dict[str, Any]:
        return {"default": tf.reduce_mean(images, axis=(1, 2))}

    module = tf.Module()
    module.one = tf.Variable(1.0)
    function = tf.function(compute, input_signature=[tf.TensorSpec((None, 96, 96, 3), name="images")])
    tf.saved_model.save(module, str(directory), dict.fromkeys(signatures, function))
    return str(directory)


def test_a_module_that_classifies(tiny_mobile: "Reference", tmp_path: Path) -> None:
    """A signature for classes gives logits and the probabilities they stand for, of images scaled to 0..1."""
    import tensorflow as tf

    from nasfeat_server.network.module_graph import open_module_graph

    source = write_trivial_module(tmp_path, "default", "image_classification")
    module = open_module_graph(locate(source, tiny_mobile.spec))
    assert module.output_shapes == {"global_pool": (3,), "Logits": (3,), "Predictions": (3,)}
    images = tf.tile(tf.constant([[[[51, 102, 255]]]], tf.uint8), (2, 96, 96, 1))
    outputs = module.run(images, tuple(module.output_shapes))
    assert np.allclose(outputs["global_pool"], [[0.2, 0.4, 1]] * 2, atol=1e-3)
    assert np.array_equal(outputs["Logits"], outputs["global_pool"])
    assert np.array_equal(outputs["Predictions"], tf.nn.softmax(outputs["Logits"]))


def test_a_module_without_features(tiny_mobile: "Reference", tmp_path: Path) -> None:
    """What computes no feature vectors is refused with the signatures that there are."""
    from nasfeat_server.network.module_graph import open_module_graph

    located = locate(write_trivial_module(tmp_path, "serve"), tiny_mobile.spec)
    with pytest.raises(WeightsError, match=r"computes no feature vectors: .*: serve \(default\)"):
        open_module_graph(located)


def test_a_module_of_another_size(tmp_path: Path) -> None:
    """A module takes images of one size, and the variant must have it."""
    from nasfeat_server.network.module_graph import open_module_graph

    located = locate(write_trivial_module(tmp_path, "image_feature_vector"), VARIANTS["mobile"])
    with pytest.raises(WeightsError, match=r"takes images \(None, 96, 96, 3\), and those of nasnet_mobile are \(1, 2"):
        open_module_graph(located)


def test_a_damaged_module(tiny_mobile: "Reference", tmp_path: Path) -> None:
    """A graph that cannot be read is an error that says so."""
    from nasfeat_server.network.module_graph import open_module_graph

    located = locate(write_trivial_module(tmp_path, "default"), tiny_mobile.spec)
    (tmp_path / "saved_model.pb").write_bytes(b"damaged")
    with pytest.raises(WeightsError, match=r"cannot load the module"):
        open_module_graph(located)
