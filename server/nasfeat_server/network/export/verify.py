"""Runs a module that was written, by what others would run it with, and compares it to the network itself."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from nasfeat_server.errors import WeightsError
from nasfeat_server.network.export import Form, require
from nasfeat_server.network.outputs import FEATURE_VECTOR, LOGITS
from nasfeat_server.network.weights import Weights, load_weights

Array = npt.NDArray[np.float32]

_IMAGES = 2


def check_runner(form: Form) -> None:
    """Make sure that what runs `form` is there.

    Raises:
        ConfigurationError: it names the extra of nasfeat that brings it.
    """
    if form == "onnx":
        require("onnxruntime", extra="onnx", purpose="to verify an ONNX model")


def differences(weights: Weights, directory: Path, form: Form) -> dict[str, float]:
    """Run the module at `directory` and the network of `weights` on the same two images of noise, on the CPU.

    Returns:
        For `global_pool`, and `Logits` if there is a classifier: the L2 norm of the difference over that of the value.

    Raises:
        WeightsError: the module holds variables, and `load_weights` reads others than those of `weights`.
    """
    import tensorflow as tf  # noqa: PLC0415 - as below

    from nasfeat_server.network.inference import network_of  # noqa: PLC0415 - brings TensorFlow

    size = weights.spec.image_size
    images = np.random.default_rng(0).random((_IMAGES, size, size, 3), np.float32)
    with tf.device("CPU:0"):
        expected = network_of(weights).endpoints(images)
    names = (FEATURE_VECTOR, LOGITS) if weights.has_classifier else (FEATURE_VECTOR,)
    found = run(directory, form, images, names)
    if form in ("hub", "savedmodel"):
        _read_back(weights, directory)
    return {
        name: float(np.linalg.norm(found[name] - expected[name]) / np.linalg.norm(expected[name])) for name in names
    }


def run(directory: Path, form: Form, images: Array, names: tuple[str, ...]) -> Mapping[str, Array]:
    """Compute the outputs `names`, by TF-Slim's names, of float32 images [N, size, size, 3] of 0..1 on the CPU."""
    return _RUNNERS[form](directory, images, names)


def _read_back(weights: Weights, directory: Path) -> None:
    read = load_weights(str(directory), report=_unheard)
    for name in ("digest", "spec", "labels", "trained"):
        written, found = getattr(weights, name), getattr(read, name)
        if written != found:
            raise WeightsError(f"the module's {name} reads back as {found}, and was {written}")


def _unheard(line: str) -> None:
    del line


def _run_tensorflow(directory: Path, images: Array, names: tuple[str, ...]) -> Mapping[str, Array]:
    import tensorflow as tf  # noqa: PLC0415 - not for the other forms

    # As `hub.load` does: of TF1 Hub's two graphs, the one without tags is for use.
    tags: list[str] | None = [] if (directory / "tfhub_module.pb").exists() else None
    # A GPU would round to TF32.
    with tf.device("CPU:0"):
        module = tf.saved_model.load(str(directory), tags)
        signature = module.signatures["image_classification" if LOGITS in names else "image_feature_vector"]
        outputs = signature(images=tf.constant(images))
    return {name: outputs[name].numpy() for name in names}


def _run_onnx(directory: Path, images: Array, names: tuple[str, ...]) -> Mapping[str, Array]:
    onnxruntime = importlib.import_module("onnxruntime")
    session = onnxruntime.InferenceSession(directory / "model.onnx", providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(list(names), {"images": images}), strict=True))


def _run_openvino(directory: Path, images: Array, names: tuple[str, ...]) -> Mapping[str, Array]:
    openvino = importlib.import_module("openvino")
    # Told so, since on processors that have bfloat16 the plugin would round to it.
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(directory / "model.xml", "CPU", exact)
    outputs = model({"images": images})
    return {name: outputs[name] for name in names}


_RUNNERS: Mapping[Form, Callable[[Path, Array, tuple[str, ...]], Mapping[str, Array]]] = MappingProxyType(
    {"hub": _run_tensorflow, "savedmodel": _run_tensorflow, "onnx": _run_onnx, "openvino": _run_openvino}
)
