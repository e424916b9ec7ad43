"""An engine without a server: files in, vectors out, in the process that asks.

It makes what a server would make of the same pictures with the same weights, and says so by the same identity. Nothing
in the server uses it; `nasfeat extract --on` finds it by its name on the nodes of a cluster.
"""

import asyncio
import atexit
import contextlib
import functools
import importlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from nasfeat_server.config import ServerConfig
from nasfeat_server.engine.devices import Placement
from nasfeat_server.engine.hold import Hold
from nasfeat_server.engine.interface import Engine, EngineOptions, ModelDescription, Results
from nasfeat_server.engine.loading import overlaps
from nasfeat_server.engine.preparing import prepare_model, scratch
from nasfeat_server.errors import ConfigurationError, InvalidImageError
from nasfeat_server.imaging.decode import decode_into, preprocessing_digest
from nasfeat_server.imaging.framing import Framing
from nasfeat_server.imaging.types import ImageLimits

_INVALID, _FAILED = "INVALID_IMAGE", "EXECUTION_FAILED"
Outcome = Mapping[str, npt.NDArray[np.float32]] | tuple[str, str]
"""The outputs of a picture by name, or the reason, by its name on the wire, and the message of its failure."""


class EngineExtractor:
    """A warm engine, and threads that decode for it; see `engine_extractor`. Not thread-safe.

    Attributes:
        identity: the model, in the fields of `nasfeat.v1.ModelIdentity`.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        identity: Mapping[str, Any],
        outputs: Sequence[str],
        batch: int,
        decoder: "Decoder",
        lasting: contextlib.ExitStack,
    ) -> None:
        self.identity = identity
        self._engine = engine
        self._outputs = tuple(outputs)
        self._batch = batch
        self._decoder = decoder
        self._lasting = lasting
        # What a process that nobody closes leaves on the disk.
        atexit.register(lasting.close)

    def close(self) -> None:
        """Let go of the threads and of the prepared model; the engine's memory goes with the process."""
        self._decoder.close()
        self._lasting.close()

    def extract(self, images: Sequence[bytes]) -> list[Outcome]:
        """Give what became of each of `images`, which are files in the formats that the server decodes.

        A batch on which the engine fails is halved until the picture is found that it fails on.
        """
        outcomes: dict[int, Outcome] = {}
        running: Callable[[], None] = _nothing
        for numbers, pixels in self._batches(images, outcomes):
            # The device has its next batch before the results of the one before are copied.
            begun = functools.partial(self._collect, numbers, pixels, self._begin(pixels), outcomes)
            running()
            running = begun
        running()
        return [outcomes[number] for number in range(len(images))]

    def _batches(
        self, images: Sequence[bytes], outcomes: dict[int, Outcome]
    ) -> Iterator[tuple[list[int], npt.NDArray[np.uint8]]]:
        """Give the pictures that can be decoded, uint8 [N, H, W, 3] in sizes that are warm, with their numbers."""
        waiting: list[tuple[int, npt.NDArray[np.uint8]]] = []
        for number, decoded in enumerate(self._decoder.decoded(images, ahead=2 * self._batch)):
            if isinstance(decoded, InvalidImageError):
                outcomes[number] = (_INVALID, str(decoded))
                continue
            waiting.append((number, decoded))
            if len(waiting) == self._batch:
                yield _stacked(waiting)
                waiting = []
        while waiting:
            size = 1 << (len(waiting).bit_length() - 1)
            yield _stacked(waiting[:size])
            waiting = waiting[size:]

    def _begin(self, pixels: npt.NDArray[np.uint8]) -> Callable[[], Results]:
        if not overlaps(self._engine):
            return functools.partial(self._engine.run, pixels, self._outputs)
        try:
            return self._engine.begin(pixels, self._outputs)
        except Exception:  # noqa: BLE001 - it is this batch's, and comes again where its results are collected
            return functools.partial(self._engine.run, pixels, self._outputs)

    def _collect(
        self,
        numbers: list[int],
        pixels: npt.NDArray[np.uint8],
        fetch: Callable[[], Results],
        outcomes: dict[int, Outcome],
    ) -> None:
        try:
            results = fetch()
            for row, number in enumerate(numbers):
                # The engine uses its memory again.
                outcomes[number] = {name: np.array(results[name][row]) for name in self._outputs}
        except Exception as error:  # noqa: BLE001 - an engine may raise anything
            if len(numbers) == 1:
                outcomes[numbers[0]] = (_FAILED, f"{type(error).__name__}: {error}")
                return
            middle = len(numbers) // 2
            for half in (slice(None, middle), slice(middle, None)):
                run = functools.partial(self._engine.run, pixels[half], self._outputs)
                self._collect(numbers[half], pixels[half], run, outcomes)


class Decoder:
    """Threads that make uint8 RGB [height, width, 3] of files.

    Args:
        description: has the size of the network's input.
        config: says how pictures are brought to its proportions, and what is too large.
        threads: how many.
    """

    def __init__(self, description: ModelDescription, config: ServerConfig, *, threads: int) -> None:
        self._shape = (description.image_height, description.image_width, 3)
        self._framing = Framing.parse(config.crop)
        self._limits = ImageLimits(max_bytes=config.limits.max_image_bytes, max_pixels=config.limits.max_image_pixels)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="decode")

    def decoded(self, images: Sequence[bytes], *, ahead: int) -> Iterator[npt.NDArray[np.uint8] | InvalidImageError]:
        """Give the pixels of each of `images` or what is wrong with it, in order, and decode so many ahead."""
        waiting: deque[Future[npt.NDArray[np.uint8] | InvalidImageError]] = deque()
        for image in images:
            waiting.append(self._threads.submit(self._decode, image))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    def _decode(self, image: bytes) -> npt.NDArray[np.uint8] | InvalidImageError:
        pixels = np.empty(self._shape, np.uint8)
        try:
            decode_into(image, pixels, self._limits, self._framing)
        except InvalidImageError as error:
            return error
        return pixels


def engine_extractor(
    *,
    weights: str,
    variant: str | None,
    engine: str,
    crop: str,
    max_batch_size: int,
    gpu: bool,
    threads: int,
    outputs: Sequence[str],
) -> EngineExtractor:
    """Prepare the model, as a server does when it starts, and load it into this process, which is the engine's now.

    Args:
        weights: see `ServerConfig`, as for the next four.
        variant: the network.
        engine: its name, or "auto".
        crop: how pictures are brought to the network's proportions.
        max_batch_size: the largest batch.
        gpu: compute on the GPU that this process sees; otherwise on the CPU.
        threads: how many decode.
        outputs: the outputs wanted, by name.

    Raises:
        ConfigurationError: the model cannot be had, the engine is not installed, or there is no such output.
    """
    config = ServerConfig(
        weights=weights,
        variant=variant,
        engine=engine,
        crop=crop,
        max_batch_size=max_batch_size,
        devices=("gpu:0" if gpu else "cpu:0",),
    )
    with contextlib.ExitStack() as stack:
        options = asyncio.run(prepare_model(config, stack.enter_context(scratch())))
        if options.artifact:
            stack.enter_context(Hold(options.artifact))
        _see_only(gpu=gpu)
        loaded: Engine = importlib.import_module(f"nasfeat_server.engine.engines.{options.engine}").create(options)
        description = loaded.load()
        _check_outputs(outputs, description)
        return EngineExtractor(
            loaded,
            identity=_identity(description, config),
            outputs=outputs,
            batch=_warmed(loaded, options),
            decoder=Decoder(description, config, threads=threads),
            lasting=stack.pop_all(),
        )


def _check_outputs(outputs: Sequence[str], description: ModelDescription) -> None:
    if unknown := set(outputs) - set(description.output_shapes):
        known = ", ".join(description.output_shapes)
        raise ConfigurationError(f"the model has no output {', '.join(sorted(unknown))}; it has {known}")


def _identity(description: ModelDescription, config: ServerConfig) -> Mapping[str, Any]:
    framing = Framing.parse(config.crop)
    return {
        "name": description.name,
        "version": config.model_version,
        "weights_digest": description.weights_digest,
        "precision": description.precision,
        "preprocessing_digest": preprocessing_digest(description.image_height, description.image_width, framing),
        "weights_source": description.weights_source,
        "trained": description.trained,
        "wiring": description.wiring,
    }


def _warmed(engine: Engine, options: EngineOptions) -> int:
    """Run each batch size that pays once, as far as the device has the memory; returns the largest."""
    largest = 0
    for size in itertools.takewhile(lambda size: size <= engine.max_batch_size, options.batch_buckets):
        try:
            engine.warm_up(size)
        except MemoryError as error:
            if not largest:
                raise ConfigurationError(f"the device has not the memory for one image: {error}") from error
            break
        largest = size
    return largest


def _see_only(*, gpu: bool) -> None:
    """Set what frameworks read when they are imported, in a process that somebody else has started."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    seen = dict(Placement(device="gpu:0" if gpu else "cpu:0", cores=()).environment)
    if gpu:
        # Which one it is, has been said by whoever shares them out.
        del seen["CUDA_VISIBLE_DEVICES"]
    os.environ.update(seen)


def _stacked(
    decoded: Sequence[tuple[int, npt.NDArray[np.uint8]]],
) -> tuple[list[int], npt.NDArray[np.uint8]]:
    return [number for number, _ in decoded], np.stack([pixels for _, pixels in decoded])


def _nothing() -> None:
    """Collect nothing: the first batch has none before it."""
