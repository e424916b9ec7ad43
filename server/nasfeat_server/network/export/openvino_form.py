"""OpenVINO's intermediate representation, made of the ONNX model."""

from pathlib import Path

import openvino

from nasfeat_server.network.export.onnx_form import onnx_model, properties
from nasfeat_server.network.weights import Weights


def write(weights: Weights, directory: Path) -> None:
    """Write `model.xml` and `model.bin` into `directory`, float32 as the weights are."""
    model = openvino.Core().read_model(onnx_model(weights).SerializeToString())
    for name, value in properties(weights).items():
        model.set_rt_info(value, ["nasfeat", name])
    openvino.save_model(model, directory / "model.xml", compress_to_fp16=False)
