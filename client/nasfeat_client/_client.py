"""The client, for asyncio programs."""

import asyncio
import warnings
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from types import TracebackType
from typing import Self

from nasfeat.v1 import feature_service_pb2
from nasfeat_client._forks import forked
from nasfeat_client._open_stream import AsyncOpenStream
from nasfeat_client._opening import Opener
from nasfeat_client._pool import Pool
from nasfeat_client._requests import extract_request, options_message, wanted
from nasfeat_client._result_stream import AsyncResultStream, Told
from nasfeat_client._results import identity_of, model_of, result_of
from nasfeat_client._source import Frames, packed_frames
from nasfeat_client._stream import FrameStream
from nasfeat_client.config import ClientConfig
from nasfeat_client.errors import UnexpectedReplyError
from nasfeat_client.images import Image
from nasfeat_client.result import Classification, Result
from nasfeat_client.types import DeliveryOrder, ModelInfo, StreamOptions

DEFAULT_TARGET = "localhost:50051"


class AsyncFeatureClient:
    """A connection to a nasfeat server, or to several that serve the same model, for one event loop.

    It connects at its first call, reconnects by itself, and may serve any number of tasks at once. Use it in an
    `async with` block, or `close` it. Of several servers each call and stream takes the one with the least under way
    for what it can still do, and another one if that cannot be reached, is full or is lost; one that was lost rests for
    a while, and one that says that it does not serve gets nothing.

    Every call raises a `NasfeatError` if it fails, and `RuntimeError` once the client is closed.

    Args:
        target: "host:port" of the server, or of several. `dns:///host:port` stands for as many servers as the name has
            addresses, now and later; `ipv4:10.0.0.1:50051,10.0.0.2:50051` for those.
        config: how to speak to it.
    """

    def __init__(self, target: str | Sequence[str] = DEFAULT_TARGET, *, config: ClientConfig | None = None) -> None:
        self._config = config or ClientConfig()
        self._pool = Pool((target,) if isinstance(target, str) else target, self._config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._pool}{' closed' * self._pool.closed}>"

    def __del__(self) -> None:
        pool: Pool | None = getattr(self, "_pool", None)
        # None if the constructor raised. gRPC ends the connection by itself, now or a little later.
        if pool and pool.connected and not forked():
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            pool.forget()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def extract(self, image: Image, *, outputs: Sequence[str] = (), top_k: int = 0) -> Result:
        """Turn one image into features.

        Args:
            image: the picture.
            outputs: the outputs wanted, by name: any of `ModelInfo.outputs`, or a signature's name, which stands for
                its output: "image_feature_vector" for "global_pool", "image_classification" for "Logits". None means
                the feature vector, or no output at all where `top_k` is set.
            top_k: how many of the most probable classes the result names, at most; 0 for none.

        Raises:
            InvalidRequestError: the server has no such output, and lists those that it has; or no classifier.
            NasfeatError: the call or the image failed.
        """
        options = wanted(outputs, top_k)
        request = await asyncio.to_thread(extract_request, image, options, self._config.max_message_bytes)
        request.model = self._config.model
        reply = await self._pool.ask(
            "ExtractFeatures",
            lambda stub, timeout_s, metadata: stub.ExtractFeatures(request, timeout=timeout_s, metadata=metadata),
        )
        if len(reply.results) != 1:
            raise UnexpectedReplyError(f"{self._pool} gave {len(reply.results)} results for one image")
        result = result_of(reply.results[0], identity_of(reply.identity), top_k=top_k)
        result.raise_for_error()
        return result

    async def classify(self, image: Image, top_k: int = 5) -> tuple[Classification, ...]:
        """Name what is most probably on one image, by the server's classifier.

        Args:
            image: the picture.
            top_k: how many classes to name, 1 or more.

        Returns:
            The classes, the most probable first.

        Raises:
            InvalidRequestError: the server's weights have no classifier, or fewer classes.
            NasfeatError: the call or the image failed.
        """
        if top_k < 1:
            raise ValueError(f"top_k is {top_k}; it must be 1 or more")
        return (await self.extract(image, top_k=top_k)).classes

    def extract_many(
        self, images: Frames, *, outputs: Sequence[str] = (), top_k: int = 0, ordered: bool = True
    ) -> AsyncResultStream:
        """Turn any number of images into features, over one stream: one result for each, in their order.

        An image that fails has its error in its result, and the others go on.

        Args:
            images: any iterable, which may be endless: it is read only as fast as results are taken.
            outputs: the outputs wanted, by name, as in `extract`.
            top_k: how many of the most probable classes each result names, at most; 0 for none.
            ordered: wait with a result for those of the images before; otherwise each comes as soon as it is there, and
                its `frame_id`, counted from 0, tells which image it is of.

        Raises:
            NasfeatError: the stream as a whole failed.
        """
        order = DeliveryOrder.ORDERED if ordered else DeliveryOrder.AS_COMPLETED
        return self.stream(images, replace(wanted(outputs, top_k), delivery_order=order))

    def stream(self, frames: Frames, options: StreamOptions | None = None) -> AsyncResultStream:
        """Stream frames: exactly one result for each, also when the server is lost and comes back meanwhile.

        Leaving the loop early ends the call and closes `frames`, if that is a generator; `contextlib.aclosing` makes
        that happen at once. A plain iterable is run in a thread, so that it may block; leaving waits for the item
        that it is busy with.

        Args:
            frames: images, or `Frame`s where ids and capture times matter; may be endless.
            options: how the stream wants to be served.

        Returns:
            An iterator of results that also tells what the server granted and, at the end, what became of all frames.

        Raises:
            NasfeatError: while iterating: the stream as a whole failed; results given before are good.
        """
        told = Told()
        return AsyncResultStream(self._results(frames, options or StreamOptions(), told), told)

    def open_stream(self, options: StreamOptions | None = None) -> AsyncOpenStream:
        """Hold a stream open, for frames that do not come from an iterable.

        Args:
            options: how the stream wants to be served.

        Returns:
            What frames are sent to and results come from, in an `async with` block, which opens it.

        Raises:
            NasfeatError: when the block is entered: no server grants the stream.
        """
        told = Told()
        return AsyncOpenStream(lambda frames: self._results(frames, options or StreamOptions(), told), told)

    async def _results(self, frames: Frames, options: StreamOptions, told: Told) -> AsyncGenerator[Result, None]:
        wanted = options_message(options, self._config.window)
        stream = FrameStream(Opener(self._pool, wanted, self._config), told, self._config)
        results = stream.results(packed_frames(frames, self._config.max_message_bytes))
        async with aclosing(results):
            async for result in results:
                yield result

    async def model(self, name: str = "") -> ModelInfo:
        """Describe a model.

        Args:
            name: the model's name, a version's, "stable" or "canary"; "" means what `ClientConfig.model` says, or the
                stable version.

        Raises:
            ModelNotFoundError: the server has no such model.
            NasfeatError: the call failed.
        """
        request = feature_service_pb2.GetModelRequest(name=name or self._config.model)
        reply = await self._pool.ask(
            "GetModel", lambda stub, timeout_s, metadata: stub.GetModel(request, timeout=timeout_s, metadata=metadata)
        )
        return model_of(reply.model)

    async def models(self) -> tuple[ModelInfo, ...]:
        """Describe every version of the model that the server has, the stable one first.

        Raises:
            NasfeatError: the call failed.
        """
        request = feature_service_pb2.ListModelsRequest()
        reply = await self._pool.ask(
            "ListModels",
            lambda stub, timeout_s, metadata: stub.ListModels(request, timeout=timeout_s, metadata=metadata),
        )
        return tuple(model_of(model) for model in reply.models)

    async def close(self) -> None:
        """Give up what is under way and disconnect; may be called again."""
        await self._pool.close()
