"""The engine that computes nothing, in a real replica process: `--engine fake`.

It measures what serving costs beside the network, and gives tests processes that start at once and die on demand.
Its weights are `random:SEED`, and SEED is added to every value, or what a batch costs: `sleep:SECONDS[+SECONDS]`, for
the batch and for each of its images, and with `,memory:N` behind that how many images fit into the device's memory. N
may be the path of a file that is read for each batch, so that memory can come back.
"""

import os
import re
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nasfeat_server.engine.fake import describe, fingerprints
from nasfeat_server.engine.interface import EngineOptions, ModelDescription, Outputs, Results
from nasfeat_server.errors import WeightsError

# An image whose first pixel is one of these makes the engine misbehave.
KILLING_PIXEL = (255, 0, 254)
FAILING_PIXEL = (254, 0, 255)
HANGING_PIXEL = (254, 0, 254)

_SEED = re.compile(r"random:(\d+)")
_COST = re.compile(r"sleep:(?P<base>[\d.e-]+)(\+(?P<per_image>[\d.e-]+))?(,memory:(?P<memory>.+))?")


class FakeEngine:
    """Fingerprints instead of features; see `nasfeat_server.engine.fake.fingerprint`."""

    def __init__(self, options: EngineOptions) -> None:
        """Keep the options; `load` reads them."""
        self._options = options
        self._base_s = 0.0
        self._per_image_s = 0.0
        self._memory = ""
        self._mark = np.float32(0)
        self._shapes: Mapping[str, tuple[int, ...]] = {}

    @property
    def max_batch_size(self) -> int:
        """The largest that was asked for."""
        return self._options.batch_buckets[-1]

    def load(self) -> ModelDescription:
        """Read what a batch costs."""
        model = self._options.model
        cost = _COST.fullmatch(model.location)
        if cost:
            self._base_s, self._per_image_s = float(cost["base"]), float(cost["per_image"] or 0)
            self._memory = cost["memory"] or ""
        elif seed := _SEED.fullmatch(model.location):
            self._mark = np.float32(seed[1])
        else:
            raise WeightsError(
                f"the fake engine takes random:SEED or sleep:SECONDS[+SECONDS][,memory:N], not {model.source!r}"
            )
        description = describe(model.spec, model.source)
        self._shapes = description.output_shapes
        return description

    def warm_up(self, batch_size: int) -> None:
        """Complain if the batch would not fit; there is nothing to compile."""
        self._check_memory(batch_size)

    def run(self, images: npt.NDArray[np.uint8], outputs: Outputs) -> Results:
        """Fingerprint `images`, uint8 [N, H, W, 3], unless one of them asks for trouble."""
        first_pixels = {tuple(image[0, 0].tolist()) for image in images}
        if KILLING_PIXEL in first_pixels:
            os.kill(os.getpid(), signal.SIGKILL)
        if FAILING_PIXEL in first_pixels:
            raise ValueError("the batch holds an image with the failing pixel")
        if HANGING_PIXEL in first_pixels:
            signal.pause()
        self._check_memory(len(images))
        if cost_s := self._base_s + self._per_image_s * len(images):
            time.sleep(cost_s)
        results = fingerprints(images, outputs, self._shapes)
        return {name: values + self._mark for name, values in results.items()} if self._mark else results

    def _check_memory(self, batch_size: int) -> None:
        if not self._memory:
            return
        fitting = int(self._memory if self._memory.isdecimal() else Path(self._memory).read_text())
        if batch_size > fitting:
            raise MemoryError(f"{batch_size} images do not fit, {fitting} do")


def create(options: EngineOptions) -> FakeEngine:
    """Make the engine of a replica's process."""
    return FakeEngine(options)
