"""The model that Triton's Python backend loads, in its stub process: one call of the model for each batch."""

import json
from typing import Any

import numpy as np
import triton_python_backend_utils as triton

from peers.model import batch_of, load_model


class TritonPythonModel:
    """The class that the backend asks for by this name."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model that the configuration names."""
        config = json.loads(args["model_config"])
        self._model = load_model(config["parameters"]["model"]["string_value"])
        self._size = int(config["parameters"]["size"]["string_value"])
        self._raw = config["name"] == "raw"

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer the requests of one batch, each of one or more pictures."""
        inputs = [triton.get_input_tensor_by_name(request, "pictures").as_numpy() for request in requests]
        features = self._model(self._pictures(inputs))
        parts = np.split(features, np.cumsum([len(one) for one in inputs])[:-1])
        return [triton.InferenceResponse([triton.Tensor("features", part)]) for part in parts]

    def _pictures(self, inputs: list[Any]) -> Any:
        if self._raw:
            return inputs[0] if len(inputs) == 1 else np.concatenate(inputs)
        return batch_of([row[0] for one in inputs for row in one], self._size)
