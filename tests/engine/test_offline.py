"""An engine without a server, in this process."""

import asyncio
import io
from collections.abc import Callable, Iterator

import numpy as np
import PIL.Image
import pytest

from nasfeat_client.images import Image
from nasfeat_client.sync import FeatureClient
from nasfeat_server.engine.engines.fake import FAILING_PIXEL
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.offline import EngineExtractor, engine_extractor
from serving import running

Open = Callable[..., EngineExtractor]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Open extractors with a fake engine, and close them; the environment that they set is put back."""
    for name in ("TF_CPP_MIN_LOG_LEVEL", "CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS"):
        monkeypatch.setenv(name, "")
    extractors: list[EngineExtractor] = []

    def make(
        *, weights: str = "random:0", crop: str = "stretch", outputs: tuple[str, ...] = ("global_pool",)
    ) -> EngineExtractor:
        extractors.append(
            engine_extractor(
                weights=weights,
                variant="cifar",
                engine="fake",
                crop=crop,
                max_batch_size=4,
                gpu=False,
                threads=2,
                outputs=outputs,
            )
        )
        return extractors[-1]

    yield make
    for extractor in extractors:
        extractor.close()


def _png(number: int, pixel: tuple[int, int, int] | None = None) -> bytes:
    """Make a file with a picture of its own, whose first pixel may be asked for."""
    pixels = np.full((32, 32, 3), number, np.uint8)
    pixels[0, 0] = pixel or (number, 1, 2)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("crop", ["stretch", "center_crop:0.5"])
async def test_vectors_and_identity_are_those_of_a_server(opened: Open, crop: str) -> None:
    """With the same weights and settings; so what one has begun, the other may go on with."""
    images: list[Image] = [_png(number) for number in range(11)]
    extractor = await asyncio.to_thread(opened, crop=crop)
    outcomes = extractor.extract([image for image in images if isinstance(image, bytes)])
    async with running(crop=crop) as app:

        def ask() -> tuple[list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]], object]:
            with FeatureClient(str(app.listening)) as client:
                return [result.vector for result in client.stream(iter(images))], client.model().identity

        vectors, identity = await asyncio.to_thread(ask)
    for outcome, vector in zip(outcomes, vectors, strict=True):
        assert not isinstance(outcome, tuple)
        np.testing.assert_array_equal(outcome["global_pool"], vector)
    assert {name: getattr(identity, name) for name in extractor.identity} == extractor.identity


@pytest.mark.parametrize("count", [0, 1, 3, 4, 9])
def test_each_picture_has_its_own_outcome(opened: Open, count: int) -> None:
    """However they fill the batches: what cannot be decoded, and what the engine fails on, fails alone."""
    images = [_png(number) for number in range(count)]
    images.insert(count // 2, b"no picture")
    images.insert(count // 3, _png(77, FAILING_PIXEL))
    extractor = opened()
    outcomes = extractor.extract(images)
    failed = [outcome for outcome in outcomes if isinstance(outcome, tuple)]
    assert sorted(reason for reason, _ in failed) == ["EXECUTION_FAILED", "INVALID_IMAGE"]
    assert any("not an image" in message for _, message in failed)
    assert any("the failing pixel" in message for _, message in failed)
    for image, outcome in zip(images, outcomes, strict=True):
        if not isinstance(outcome, tuple):
            (alone,) = extractor.extract([image])
            assert not isinstance(alone, tuple)
            np.testing.assert_array_equal(outcome["global_pool"], alone["global_pool"])


def test_what_cannot_be_opened_says_why(opened: Open) -> None:
    """Outputs that there are not, weights that the engine does not take, and a device without memory for one image."""
    with pytest.raises(ConfigurationError, match="the model has no output Nothing; it has global_pool, Logits"):
        opened(outputs=("global_pool", "Nothing"))
    with pytest.raises(ConfigurationError, match="the fake engine takes random:SEED"):
        opened(weights="nonsense")
    with pytest.raises(ConfigurationError, match="not the memory for one image: 1 images do not fit, 0 do"):
        opened(weights="sleep:0,memory:0")


def test_batches_are_as_large_as_the_memory_allows(opened: Open) -> None:
    """The sizes that do not fit when they are tried are not used."""
    outcomes = opened(weights="sleep:0,memory:2").extract([_png(number) for number in range(7)])
    assert not [outcome for outcome in outcomes if isinstance(outcome, tuple)]
