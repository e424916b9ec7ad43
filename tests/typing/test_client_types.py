"""What type checkers make of the SDK: `mypy --strict` reads this file, and running it needs no server."""

from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import assert_type

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from nasfeat_client import (
    AsyncFeatureClient,
    AsyncOpenStream,
    AsyncResultStream,
    Classification,
    DropReason,
    FeatureClient,
    Frame,
    FrameError,
    Image,
    ModelIdentity,
    ModelInfo,
    OpenStream,
    PixelFormat,
    Pixels,
    Result,
    ResultSource,
    ResultStream,
    StreamGrant,
    StreamSummary,
)


def sync_surface(client: FeatureClient) -> None:
    """Every method of the synchronous client."""
    with client as entered:
        assert_type(entered, FeatureClient)
    assert_type(client.extract("photo.jpg", outputs=["Cell_0"], top_k=5), Result)
    assert_type(client.classify("photo.jpg"), tuple[Classification, ...])
    assert_type(client.extract_many([Path("photo.jpg")]), ResultStream)
    assert_type(client.stream([Frame(b"photo", frame_id=1), b"photo"]), ResultStream)
    stream = client.stream([b"photo"])
    assert_type(next(stream), Result)
    assert_type(
        (stream.grant, stream.window, stream.summary), tuple[StreamGrant | None, int | None, StreamSummary | None]
    )
    with client.open_stream() as held:
        assert_type(held, OpenStream)
        held.send(b"photo")
        held.end()
        assert_type(next(held), Result)
    assert_type(client.model(), ModelInfo)
    assert_type(client.models(), tuple[ModelInfo, ...])


async def async_surface(client: AsyncFeatureClient) -> None:
    """Every method of the asynchronous client."""
    async with client as entered:
        assert_type(entered, AsyncFeatureClient)
    assert_type(await client.extract(b"photo", outputs=("Cell_0",), top_k=5), Result)
    assert_type(await client.classify(b"photo", 3), tuple[Classification, ...])
    assert_type(client.extract_many(["photo.jpg"]), AsyncResultStream)
    assert_type(client.stream(client_frames()), AsyncResultStream)
    stream = client.stream([b"photo"])
    assert_type(await anext(stream), Result)
    assert_type(
        (stream.grant, stream.window, stream.summary), tuple[StreamGrant | None, int | None, StreamSummary | None]
    )
    async with client.open_stream() as held:
        assert_type(held, AsyncOpenStream)
        await held.send(Frame(b"photo", frame_id=1))
        await held.end()
        assert_type(await anext(held), Result)
    assert_type(await client.model(), ModelInfo)
    assert_type(await client.models(), tuple[ModelInfo, ...])


async def client_frames() -> AsyncGenerator[Frame, None]:
    """Frames from a coroutine."""
    yield Frame(b"photo")


def fields(result: Result) -> None:
    """What a result has."""
    assert_type(result.vector, npt.NDArray[np.float32])
    assert_type(result.outputs, Mapping[str, npt.NDArray[np.float32]])
    assert_type(result.classes, tuple[Classification, ...])
    assert_type(result.source, ResultSource | None)
    assert_type(result.ok, bool)
    assert_type(result.error, FrameError | None)
    assert_type(result.dropped, DropReason | None)
    assert_type(result.identity, ModelIdentity)


def model_fields(model: ModelInfo) -> None:
    """What a model has."""
    assert_type(model.output_shapes, Mapping[str, tuple[int, ...]])
    assert_type(model.labels, tuple[str, ...])
    assert_type(model.image_channels, int)
    assert_type(model.identity.wiring, str)
    assert_type(model.limits.max_result_bytes, int)


def test_all_kinds_of_images_are_images() -> None:
    """Each of these is an `Image` to mypy."""
    floats = Pixels(np.zeros((2, 2, 3), np.float32), pixel_format=PixelFormat.RGB_FLOAT32)
    images: list[Image] = ["a", Path("a"), b"a", np.zeros((2, 2, 3), np.uint8), floats, Pillow.new("RGB", (2, 2))]
    assert len(images) == 6
