"""Modules that were exported here are served: as weights of our network, and by their own graph."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasfeat_client import AsyncFeatureClient, InvalidRequestError, ModelInfo
from nasfeat_server.network.export import write_module
from nasfeat_server.network.weights import load_weights
from serving import FAKE, running

FOLDER = Path(__file__).parents[1] / "data" / "oracle" / "tiny_cifar"


@pytest.mark.slow
async def test_a_module_is_served_both_ways_with_equal_results(tmp_path: Path) -> None:
    """Without being told the variant, our network and the module's own graph give the same features and classes."""
    weights = load_weights(str(FOLDER / "model.ckpt"), str(FOLDER / "spec.json"))
    write_module(weights, tmp_path / "module", form="hub")
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    served: dict[bool, tuple[ModelInfo, Any]] = {}
    for own_graph in (False, True):
        options: dict[str, Any] = {"weights": str(tmp_path / "module"), "variant": None, "engine": "tensorflow"}
        async with (
            running(FAKE, run_module_graph=own_graph, **options) as app,
            AsyncFeatureClient(str(app.listening)) as client,
        ):
            outputs = ["global_pool", "Logits"]
            served[own_graph] = (await client.model(), await client.extract(image, outputs=outputs, top_k=2))
            if own_graph:
                with pytest.raises(InvalidRequestError, match=r"these weights give global_pool, Logits, Predictions$"):
                    await client.extract(image, outputs=["Cell_0"])
    (ours, our_result), (theirs, their_result) = served[False], served[True]
    assert ours.identity == theirs.identity
    assert (ours.identity.name, ours.identity.weights_digest) == ("tiny_cifar", weights.digest)
    for name, value in our_result.outputs.items():
        assert np.linalg.norm(value - their_result.outputs[name]) < 1e-4 * np.linalg.norm(value)
    assert [found.class_index for found in our_result.classes] == [found.class_index for found in their_result.classes]
