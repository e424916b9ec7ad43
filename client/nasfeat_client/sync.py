"""The client, for programs without asyncio."""

import functools
import warnings
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from nasfeat_client._client import DEFAULT_TARGET, AsyncFeatureClient
from nasfeat_client._loop import LoopThread
from nasfeat_client._result_stream import AsyncResultStream
from nasfeat_client._sync_streams import OpenStream, ResultStream
from nasfeat_client.config import ClientConfig
from nasfeat_client.images import Frame, Image
from nasfeat_client.result import Classification, Result
from nasfeat_client.types import ModelInfo, StreamOptions


class FeatureClient:
    """A connection to one nasfeat server or several: `AsyncFeatureClient`, driven by an event loop in its own thread.

    It connects at its first call, reconnects by itself, and may be used by any number of threads at once, also by one
    that runs an event loop, which then stands still. Use it in a `with` block, or `close` it.

    Every call raises a `NasfeatError` if it fails, and `RuntimeError` once the client is closed.

    Args:
        target: "host:port" of the server, or of several; `dns:///host:port` for as many as the name has addresses, now
            and later.
        config: how to speak to it.
    """

    def __init__(self, target: str | Sequence[str] = DEFAULT_TARGET, *, config: ClientConfig | None = None) -> None:
        self._client = AsyncFeatureClient(target, config=config)
        self._open: set[AsyncResultStream] = set()
        # Nothing there refers to this object, so that it can be seen when nobody has it any more.
        self._loop = LoopThread(functools.partial(_end, self._client, self._open))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._client!r}>"

    def __del__(self) -> None:
        loop: LoopThread | None = getattr(self, "_loop", None)
        # None if the constructor raised.
        if loop and loop.running:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            # Not `close`, which waits: this may run in any thread, the client's own too.
            loop.forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def extract(self, image: Image, *, outputs: Sequence[str] = (), top_k: int = 0) -> Result:
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
        return self._loop.run(self._client.extract, image, outputs=outputs, top_k=top_k)

    def classify(self, image: Image, top_k: int = 5) -> tuple[Classification, ...]:
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
        return self._loop.run(self._client.classify, image, top_k)

    def extract_many(
        self, images: Iterable[Image | Frame], *, outputs: Sequence[str] = (), top_k: int = 0, ordered: bool = True
    ) -> ResultStream:
        """Turn any number of images into features, over one stream: one result for each, in their order.

        An image that fails has its error in its result, and the others go on.

        Args:
            images: any iterable, which may be endless: it is read, in another thread, only as fast as results are
                taken.
            outputs: the outputs wanted, by name, as in `extract`.
            top_k: how many of the most probable classes each result names, at most; 0 for none.
            ordered: wait with a result for those of the images before; otherwise each comes as soon as it is there, and
                its `frame_id`, counted from 0, tells which image it is of.

        Raises:
            NasfeatError: the stream as a whole failed.
        """
        results = self._client.extract_many(images, outputs=outputs, top_k=top_k, ordered=ordered)
        return ResultStream(self._each(results), results)

    def stream(self, frames: Iterable[Image | Frame], options: StreamOptions | None = None) -> ResultStream:
        """Stream frames: exactly one result for each.

        Leaving the loop early ends the call and closes `frames`, if that is a generator; `contextlib.closing` makes
        that happen at once. `frames` is run in another thread, so that it may block; leaving waits for the item that
        it is busy with.

        Args:
            frames: images, or `Frame`s where ids and capture times matter; may be endless.
            options: how the stream wants to be served.

        Returns:
            An iterator of results that also tells what the server granted and, at the end, what became of all frames.

        Raises:
            NasfeatError: while iterating: the stream as a whole failed; results given before are good.
        """
        results = self._client.stream(frames, options)
        return ResultStream(self._each(results), results)

    def open_stream(self, options: StreamOptions | None = None) -> OpenStream:
        """Hold a stream open, for frames that do not come from an iterable.

        Args:
            options: how the stream wants to be served.

        Returns:
            What frames are sent to and results come from, in a `with` block, which opens it.

        Raises:
            NasfeatError: when the block is entered: no server grants the stream.
        """
        stream = self._client.open_stream(options)
        return OpenStream(stream, self._loop, self._open)

    def model(self, name: str = "") -> ModelInfo:
        """Describe a model.

        Args:
            name: the model's name, a version's, "stable" or "canary"; "" means what `ClientConfig.model` says, or the
                stable version.

        Raises:
            ModelNotFoundError: the server has no such model.
            NasfeatError: the call failed.
        """
        return self._loop.run(self._client.model, name)

    def models(self) -> tuple[ModelInfo, ...]:
        """Describe every version of the model that the server has, the stable one first.

        Raises:
            NasfeatError: the call failed.
        """
        return self._loop.run(self._client.models)

    def close(self) -> None:
        """Give up what is under way, disconnect and end the thread; may be called again."""
        self._loop.close()

    def _each(self, results: AsyncResultStream) -> Generator[Result, None, None]:
        async def following() -> Result | None:
            return await anext(results, None)

        self._open.add(results)
        try:
            while result := self._loop.run(following):
                yield result
        finally:
            # A closed client has ended the stream already.
            with suppress(RuntimeError):
                self._loop.run(results.aclose)
            self._open.discard(results)


async def _end(client: AsyncFeatureClient, opened: set[AsyncResultStream]) -> None:
    await client.close()
    for results in tuple(opened):
        # Those that a thread waits for have just ended by themselves.
        with suppress(RuntimeError):
            await results.aclose()
