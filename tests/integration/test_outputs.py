"""Activations, logits and classes of a real network, through the real server and the SDK."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from nasfeat_client import AsyncFeatureClient, InvalidRequestError
from nasfeat_server import network
from serving import FAKE, running

FOLDER = Path(__file__).parents[1] / "data" / "oracle" / "tiny_mobile"
SERVED: dict[str, Any] = {
    "engine": "tensorflow",
    "weights": str(FOLDER / "model.ckpt"),
    "variant": str(FOLDER / "spec.json"),
}


@pytest.fixture(scope="module")
def image() -> npt.NDArray[np.uint8]:
    """Give the first picture that the original was run on, as near as bytes come to it."""
    with np.load(FOLDER / "reference.npz") as archive:
        pixels: npt.NDArray[np.uint8] = np.rint(archive["images"][0] * 255).astype(np.uint8)
    return pixels


@pytest.mark.slow
async def test_every_output_is_the_networks_own(image: npt.NDArray[np.uint8]) -> None:
    """All outputs in one request equal the Keras model's end points to 1e-4, and the classes are the likeliest."""
    loaded = network.load(SERVED["weights"], SERVED["variant"])
    expected = {
        name: value[0] for name, value in loaded.endpoints(image[None].astype(np.float32) / np.float32(255)).items()
    }
    async with running(FAKE, **SERVED) as app, AsyncFeatureClient(str(app.listening)) as client:
        model = await client.model()
        result = await client.extract(image, outputs=model.outputs, top_k=3)
        with pytest.raises(InvalidRequestError, match="no output 'Cell_3': these weights give global_pool, Logits"):
            await client.extract(image, outputs=["Cell_3"])
        classes = await client.classify(image, top_k=3)
    expected |= {f"{name}/mean": value.mean(axis=(0, 1)) for name, value in expected.items() if value.ndim == 3}
    assert list(result.outputs) == list(model.outputs)
    assert set(model.outputs) == set(expected)
    for name, value in result.outputs.items():
        assert value.shape == model.output_shapes[name]
        assert np.linalg.norm(value - expected[name]) < 1e-4 * np.linalg.norm(expected[name]), name
    likeliest = np.argsort(-expected["Predictions"])[:3]
    assert [found.class_index for found in classes] == list(likeliest)
    assert result.classes == classes
    np.testing.assert_allclose([found.probability for found in classes], expected["Predictions"][likeliest], rtol=1e-3)
