"""Files that Keras writes of its NASNets load into our network, and compute there what Keras computes."""

import dataclasses
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

from nasfeat_server.errors import WeightsError
from nasfeat_server.network.layers import expected_variables
from nasfeat_server.network.spec import VARIANTS, NetworkSpec
from nasfeat_server.network.weights import Weights, load_weights
from nasfeat_server.network.weights.imagenet import class_names
from nasfeat_server.network.weights.keras_names import keras_name

if TYPE_CHECKING:
    from tests.network.conftest import Reference

Array = npt.NDArray[np.float32]

# Variables do not depend on the size of the images, and small ones are quick.
SPEC = dataclasses.replace(VARIANTS["mobile"], image_size=96)
FORMATS = (".weights.h5", ".h5")


def randomize(model: Any) -> Any:
    """Give every variable its own values, statistics included, so that no two could be swapped unseen."""
    generator = np.random.default_rng(0)
    ranges = {"gamma": (0.5, 1.5), "beta": (-0.5, 0.5), "moving_mean": (-0.5, 0.5), "moving_variance": (0.5, 1.5)}
    for variable in model.variables:
        low, high = ranges.get(variable.name, (-1, 1))
        spread = generator.uniform(low, high, variable.shape)
        if len(variable.shape) > 1:
            inputs = variable.shape[0] * variable.shape[1] if "depthwise" in variable.name else variable.shape[-2]
            spread *= np.sqrt(6 / inputs)
        variable.assign(spread)
    return model


def write(model: Any, path: Path) -> Path:
    """Have Keras save `model` in the format that the name stands for."""
    with warnings.catch_warnings():
        # NumPy 2 complains of how Keras copies TensorFlow's variables.
        warnings.filterwarnings("ignore", message="__array__", category=DeprecationWarning)
        model.save_weights(path) if path.name.endswith(".weights.h5") else model.save(path)
    return path


@pytest.fixture(scope="module")
def model() -> Any:
    """Keras' own NASNetMobile, to logits, over images of 96x96."""
    import keras

    return randomize(keras.applications.NASNetMobile((96, 96, 3), weights=None, classifier_activation=None))


@pytest.fixture(scope="module")
def saved(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Save the model in one of Keras' formats, once."""
    directory = tmp_path_factory.mktemp("keras")

    def save(ending: str) -> Path:
        path = directory / f"mobile{ending}"
        return path if path.exists() else write(model, path)

    return save


@pytest.fixture(scope="module")
def images() -> Array:
    """Two images of noise in patches, float32 in 0..1."""
    noise = np.random.default_rng(1).random((2, 12, 12, 3), np.float32)
    return noise.repeat(8, axis=1).repeat(8, axis=2)


def distance(values: Any, expected: Any) -> float:
    """Measure the relative L2 distance."""
    return float(np.linalg.norm(values - expected) / np.linalg.norm(expected))


def folded(weights: Weights, images: Array) -> dict[str, Any]:
    """Compute all end points in the folded graph that is served."""
    import tensorflow as tf

    from nasfeat_server.network.folded.fold import fold
    from nasfeat_server.network.folded.tensor_operations import FoldedOperations
    from nasfeat_server.network.walk import walk

    operations = FoldedOperations(weights.spec, fold(weights.spec, dict(weights.variables)))
    return walk(weights.spec, operations, tf.constant(images * 255))


def test_kerass_features_and_logits(model: Any, saved: Callable[[str], Path], images: Array) -> None:
    """In Keras' wiring both our networks compute what Keras computes, in the original's something else."""
    import keras

    from nasfeat_server.network.inference import network_of

    pooled = model.get_layer("predictions").input
    expected = dict(
        zip(("global_pool", "Logits"), keras.Model(model.input, [pooled, model.output])(2 * images - 1), strict=True)
    )
    path = str(saved(".weights.h5"))
    as_keras = load_weights(path, SPEC, keras_wiring=True)
    assert (as_keras.spec.wiring, as_keras.spec.num_classes) == ("keras", 1000)
    as_slim = load_weights(path, SPEC)
    assert (as_slim.spec.wiring, as_slim.digest) == ("slim", as_keras.digest)
    ours, served, original = network_of(as_keras).model(images), folded(as_keras, images), folded(as_slim, images)
    for name, value in expected.items():
        assert distance(ours[name], value) < 1e-4
        assert distance(served[name], value) < 1e-4
        assert distance(original[name], value) > 1e-2


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format(model: Any, saved: Callable[[str], Path], ending: str) -> None:
    """Whatever the format, the variables are the model's, by TF-Slim's names, and the classes ImageNet's 1000."""
    weights = load_weights(str(saved(ending)), "mobile")
    assert list(weights.variables) == list(expected_variables(weights.spec))
    variables = {f"{layer.name}/{variable.name}": variable for layer in model.layers for variable in layer.variables}
    for name, array in weights.variables.items():
        assert np.array_equal(array, variables.pop(keras_name(SPEC, name))), name
    assert not variables
    assert (weights.trained, weights.labels) == (True, class_names(1000))


def test_a_whole_model(saved: Callable[[str], Path], tmp_path: Path) -> None:
    """A .keras file packs the weights with what describes the model."""
    path = tmp_path / "mobile.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.write(saved(".weights.h5"), "model.weights.h5")
    assert load_weights(str(path), "mobile").digest == load_weights(str(saved(".weights.h5")), "mobile").digest


def test_files_of_keras_2(saved: Callable[[str], Path], tmp_path: Path) -> None:
    """Weights alone, names as bytes with a number behind, and lists cut to pieces, as Keras 2 wrote them, load too."""
    import h5py

    path = tmp_path / "NASNet-mobile.h5"
    with h5py.File(saved(".h5")) as new, h5py.File(path, "w") as old:
        layers = list(new["model_weights"].attrs["layer_names"])
        for number, part in enumerate(np.array_split(np.array(layers, "S"), 3)):
            old.attrs[f"layer_names{number}"] = part
        for layer in layers:
            group = old.create_group(layer)
            names = new["model_weights"][layer].attrs["weight_names"]
            group.attrs["weight_names"] = np.array([f"{name}:0" for name in names], "S")
            for name in names:
                group[f"{name}:0"] = new["model_weights"][layer][name][()]
    assert load_weights(str(path), "mobile").digest == load_weights(str(saved(".h5")), "mobile").digest


def test_every_difference_is_named_twice(saved: Callable[[str], Path], tmp_path: Path) -> None:
    """The error has Keras' name, to find it in the file, and TF-Slim's."""
    import h5py

    path = shutil.copy(saved(".h5"), tmp_path)
    with h5py.File(path, "a") as file:
        layers = file["model_weights"]
        layers["normal_bn_1_0"].attrs["weight_names"] = layers["normal_bn_1_0"].attrs["weight_names"][1:]
        layers["stem_conv1"].attrs["weight_names"] = [name + "s" for name in layers["stem_conv1"].attrs["weight_names"]]
        layers["stem_conv1"].move("stem_conv1/kernel", "stem_conv1/kernels")
        del layers["predictions/predictions/bias"]
        layers["predictions/predictions/bias"] = np.zeros(999, np.float32)
        del layers["stem_bn1/stem_bn1/gamma"]
        layers["stem_bn1/stem_bn1/gamma"] = np.zeros(32, np.float16)
    with pytest.raises(WeightsError) as caught:
        load_weights(str(path), "mobile")
    assert str(caught.value).splitlines()[1:] == [
        "  missing: normal_bn_1_0/gamma (cell_0/beginning_bn/gamma)",
        "  missing: stem_conv1/kernel (conv0/weights)",
        "  unexpected: stem_conv1/kernels",
        "  wrong type: stem_bn1/gamma (conv0_bn/gamma) is float16, expected float32",
        "  wrong shape: predictions/bias (final_layer/FC/biases) is [999], expected [classes]",
        "  wrong shape: predictions/kernel (final_layer/FC/weights) is [1056, 1000], expected [1056, classes]",
    ]


def test_without_a_classifier(saved: Callable[[str], Path], tmp_path: Path) -> None:
    """A model made with include_top=False has no layer of that name, and its weights end in features."""
    import h5py

    path = shutil.copy(saved(".weights.h5"), tmp_path)
    with h5py.File(path, "a") as file:
        del file["layers/dense"]
    weights = load_weights(str(path), "mobile")
    whole = load_weights(str(saved(".weights.h5")), "mobile")
    assert (weights.has_classifier, weights.labels) == (False, ())
    assert weights.variables.keys() == {name for name in whole.variables if not name.startswith("final_layer/")}


def test_the_other_variant(saved: Callable[[str], Path]) -> None:
    """Mobile's file is not Large's, and is recognised; Keras has no network for CIFAR."""
    path = str(saved(".weights.h5"))
    with pytest.raises(
        WeightsError, match=r"does not hold nasnet_large; \d+ variables differ \(it holds nasnet_mobile"
    ):
        load_weights(path)
    with pytest.raises(WeightsError, match=r"networks of the ImageNet family, and nasnet_cifar is none"):
        load_weights(path, "cifar")


def test_files_that_are_none_of_keras(tmp_path: Path) -> None:
    """Damaged files and those of others are refused, not crashed on."""
    import h5py

    (tmp_path / "cut.h5").write_bytes(b"\x89HDF\r\n\x1a\n and no more")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = np.zeros(3)
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("readme", "nothing")
    for name, message in {
        "cut.h5": "cannot read .*cut.h5 as a file of Keras: ",
        "other.h5": "other.h5 has no layer_names in /, as Keras' files have",
        "other.keras": "cannot read .*other.keras as a file of Keras: .*model.weights.h5",
    }.items():
        with pytest.raises(WeightsError, match=message):
            load_weights(str(tmp_path / name), "mobile")


@pytest.mark.parametrize("spec", [VARIANTS["large"], VARIANTS["mobile"]])
def test_names_are_total_and_different(spec: NetworkSpec) -> None:
    """Every variable has its own name in Keras."""
    names = list(expected_variables(spec))
    assert len({keras_name(spec, name) for name in names}) == len(names)


def test_networks_that_keras_cannot_have(tiny_cifar: "Reference") -> None:
    """The CIFAR stem has no counterpart."""
    with pytest.raises(WeightsError, match="tiny_cifar is none of them"):
        keras_name(tiny_cifar.spec, "l1_stem_3x3/weights")


@pytest.mark.slow
@pytest.mark.parametrize("ending", FORMATS)
def test_the_full_network(tmp_path: Path, ending: str) -> None:
    """NASNetLarge as Keras makes it loads from both formats, every variable in its place."""
    import keras

    model = keras.applications.NASNetLarge(weights=None)
    path = tmp_path / f"large{ending}"
    try:
        weights = load_weights(str(write(model, path)))
    finally:
        path.unlink()
    variables = {f"{layer.name}/{variable.name}": variable for layer in model.layers for variable in layer.variables}
    assert len(weights.variables) == len(variables) == 1546
    for name, array in weights.variables.items():
        assert np.array_equal(array, variables[keras_name(VARIANTS["large"], name)]), name
