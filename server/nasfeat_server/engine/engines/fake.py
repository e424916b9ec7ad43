"""The engine that computes nothing, in a real replica process: `--engine fake`.

It measures what serving costs beside the network, and gives tests processes that start at once and die on demand.
Its weights are `random:SEED`, ignored, or `sleep:SECONDS`, the time that each batch takes.
"""

import os
import signal
import time
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from nasfeat_server.engine.fake import describe, fingerprints
from nasfeat_server.engine.interface import EngineOptions, ModelDescription, Outputs
from nasfeat_server.errors import WeightsError

# An image whose first pixel is one of these makes the engine misbehave.
KILLING_PIXEL = (255, 0, 254)
FAILING_PIXEL = (254, 0, 255)
HANGING_PIXEL = (254, 0, 254)


class FakeEngine:
    """Fingerprints instead of features; see `nasfeat_server.engine.fake.fingerprint`."""

    def __init__(self, options: EngineOptions) -> None:
        """Keep the options; `load` reads them."""
        self._options = options
        self._sleep_s = 0.0
        self._shapes: Mapping[str, tuple[int, ...]] = {}

    def load(self) -> ModelDescription:
        """Read the time that a batch takes."""
        model = self._options.model
        kind, _, value = model.location.partition(":")
        if kind not in ("random", "sleep"):
            raise WeightsError(f"the fake engine takes random:SEED or sleep:SECONDS, not {model.source!r}")
        self._sleep_s = float(value) if kind == "sleep" else 0.0
        description = describe(model.spec, model.source)
        self._shapes = description.output_shapes
        return description

    def warm_up(self, batch_size: int) -> None:
        """There is nothing to compile."""

    def run(self, images: npt.NDArray[np.uint8], outputs: Outputs) -> Mapping[str, npt.NDArray[np.float32]]:
        """Fingerprint `images`, uint8 [N, H, W, 3], unless one of them asks for trouble."""
        first_pixels = {tuple(image[0, 0].tolist()) for image in images}
        if KILLING_PIXEL in first_pixels:
            os.kill(os.getpid(), signal.SIGKILL)
        if FAILING_PIXEL in first_pixels:
            raise ValueError("the batch holds an image with the failing pixel")
        if HANGING_PIXEL in first_pixels:
            signal.pause()
        time.sleep(self._sleep_s)
        return fingerprints(images, outputs, self._shapes)


def create(options: EngineOptions) -> FakeEngine:
    """Make the engine of a replica's process."""
    return FakeEngine(options)
