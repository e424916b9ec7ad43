"""The second stage: an actor makes vectors of the pictures of a part.

What makes them is one of two: servers that the actor asks, or an engine that it holds itself. The engine is the server
package's, which the client does not know; it is found by its name where the actor runs.
"""

import importlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, Protocol, TypeAlias

import click
import numpy as np
import pyarrow as pa

from nasfeat_client.cli.cluster.order import Engine, Order
from nasfeat_client.cli.cluster.reading import IMAGE, MESSAGE, NAME, REASON
from nasfeat_client.cli.cluster.servers import ServersExtractor
from nasfeat_client.cli.tables.row import check_same_model
from nasfeat_client.errors import NasfeatError
from nasfeat_client.result import FEATURE_VECTOR, Array
from nasfeat_client.types import ModelIdentity

MODEL = "model"
"""The column with the model's identity and the shapes of the outputs, as JSON; "" in rows of pictures that failed."""

ARRAY = "array "
"""How the column of an output begins, which has the float32 values as bytes."""

_ENGINE = ("nasfeat_server.offline", "engine_extractor")

Outcome: TypeAlias = Mapping[str, Array] | tuple[str, str]
"""The outputs of a picture by name, float32, or the reason and the message of its failure."""


class Extractor(Protocol):
    """What makes vectors."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """The fields of a `ModelIdentity`."""

    def extract(self, images: Sequence[bytes]) -> Sequence[Outcome]:
        """Give what became of each of `images`, which are files.

        Raises:
            Exception: nothing can be made of any picture.
        """

    def close(self) -> None:
        """Let go of what it holds."""


class Extracting:
    """The actor. Ray makes it again where it was lost, and gives it again what it had not answered.

    Args:
        order: the run.
        before: the model of the rows that there are already.
        gpu: Ray has set a GPU aside for this actor.
    """

    def __init__(self, order: Order, before: ModelIdentity | None, *, gpu: bool) -> None:
        self._order, self._before, self._gpu = order, before, gpu
        self._extractor: Extractor | None = None

    def __call__(self, block: Any) -> Any:
        """Make of a block of `reading.read` one with the vectors in place of the pictures."""
        # Not in the constructor: what is raised there, Ray takes for the loss of the actor.
        if not self._extractor:
            self._extractor = self._opened()
        names = block[NAME].to_pylist()
        problems = list(zip(block[REASON].to_pylist(), block[MESSAGE].to_pylist(), strict=True))
        images = [image for image, (reason, _) in zip(block[IMAGE].to_pylist(), problems, strict=True) if not reason]
        made = iter(self._extractor.extract(images))
        outcomes = [problem if problem[0] else self._named(next(made)) for problem in problems]
        return _table(names, outcomes, self._extractor.identity)

    def close(self) -> None:
        """Let go of the extractor; the end of the actor's process does so, too."""
        if self._extractor:
            self._extractor.close()

    def _opened(self) -> Extractor:
        order, outputs = self._order, self._order.outputs or (FEATURE_VECTOR,)
        if (here := version("nasfeat")) != order.version:
            raise click.ClickException(f"a node has nasfeat {here}, this is {order.version}: they must be the same")
        extractor: Extractor
        if isinstance(order.by, Engine):
            threads = max(1, math.ceil(order.replicas.cpus))
            extractor = _engine(asdict(order.by) | {"gpu": self._gpu, "threads": threads, "outputs": outputs})
        else:
            extractor = ServersExtractor(order.by, outputs)
        try:
            if self._before:
                check_same_model(ModelIdentity(**extractor.identity), self._before)
        except NasfeatError:
            extractor.close()
            raise
        return extractor

    def _named(self, outcome: Outcome) -> Outcome:
        """Name the feature vector as every table does where it was not asked for by its name."""
        if self._order.outputs or isinstance(outcome, tuple):
            return outcome
        return {"features": outcome[FEATURE_VECTOR]}


def _engine(settings: Mapping[str, Any]) -> Extractor:
    module, factory = _ENGINE
    try:
        make = getattr(importlib.import_module(module), factory)
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"a node cannot hold an engine: it needs the server extra: pip install 'nasfeat[server]' ({error})"
        ) from error
    extractor: Extractor = make(**settings)
    return extractor


def _table(names: list[str], outcomes: list[Outcome], identity: Mapping[str, Any]) -> Any:
    problems = [outcome if isinstance(outcome, tuple) else ("", "") for outcome in outcomes]
    arrays = [{} if isinstance(outcome, tuple) else outcome for outcome in outcomes]
    outputs = next((list(one) for one in arrays if one), [])
    models = [
        json.dumps({"identity": identity, "shapes": {name: array.shape for name, array in one.items()}}) if one else ""
        for one in arrays
    ]
    columns = {
        NAME: pa.array(names, pa.string()),
        REASON: pa.array([reason for reason, _ in problems], pa.string()),
        MESSAGE: pa.array([message for _, message in problems], pa.string()),
        MODEL: pa.array(models, pa.string()),
    }
    for output in outputs:
        values = [np.ascontiguousarray(one[output], np.float32).tobytes() if one else b"" for one in arrays]
        columns[ARRAY + output] = pa.array(values, pa.large_binary())
    return pa.table(columns)
