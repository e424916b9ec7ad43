"""The part that a program of yours would have: pictures in, features out, through the SDK."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from examples.demo.pictures import Photograph
from examples.demo.video import Frame

from nasfeat_client import FeatureClient, Result

STAGES = ("receive", "decode", "queue", "execute", "reply")

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """Which model made the features."""

    name: str
    weights_source: str
    trained: bool
    feature_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """What came back for a number of pictures.

    Attributes:
        vectors: float32 [pictures, feature length]; a failed picture's row is NaN.
        stages_s: float64 [pictures, stages]: the server's own timings.
        errors: why pictures failed, by index.
        wall_s: from the first picture sent to the last answer.
    """

    vectors: Vectors
    stages_s: npt.NDArray[np.float64]
    errors: dict[int, str]
    wall_s: float


def model_facts(client: FeatureClient) -> ModelFacts:
    """Ask the server what it serves."""
    model = client.model()
    return ModelFacts(
        name=model.identity.name,
        weights_source=model.identity.weights_source,
        trained=model.identity.trained,
        feature_length=model.feature_length,
    )


def extract_photographs(client: FeatureClient, pictures: Sequence[Photograph], length: int) -> Extraction:
    """Send picture files as they are; the SDK reads them."""
    started_at = time.monotonic()
    results = client.extract_many([picture.path for picture in pictures])
    return collect(results, length, started_at, lambda: None)


def extract_video(client: FeatureClient, frames: Iterable[Frame], length: int, tick: Callable[[], None]) -> Extraction:
    """Send decoded frames over one stream; `tick` is called for each answer."""
    return collect(client.stream(frames), length, time.monotonic(), tick)


def collect(results: Iterable[Result], length: int, started_at: float, tick: Callable[[], None]) -> Extraction:
    """Make arrays of results as they come, in order; `started_at` is when the first picture was sent."""
    vectors: list[Vectors] = []
    stages_s: list[list[float]] = []
    errors: dict[int, str] = {}
    for index, result in enumerate(results):
        if result.ok:
            vectors.append(result.vector)
        else:
            vectors.append(np.full(length, np.nan, np.float32))
            errors[index] = str(result.error)
        stages_s.append([getattr(result.timings, f"{stage}_s") for stage in STAGES])
        tick()
    return Extraction(
        vectors=np.array(vectors, np.float32).reshape(-1, length),
        stages_s=np.array(stages_s, np.float64).reshape(-1, len(STAGES)),
        errors=errors,
        wall_s=time.monotonic() - started_at,
    )
