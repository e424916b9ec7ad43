"""The main program of the short-lived process that fetches the weights and prepares them for the engine.

The server's own process stays light, and so do replicas: what brings a framework to read weights is gone when they
start. It is started by `nasfeat_server.engine.preparing` with one JSON argument and writes JSON lines to its standard
output: {"progress": text} and {"warning": text} while it works, then {"located": ..., "artifact": path} or
{"refused": message}.
"""

import contextlib
import dataclasses
import functools
import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import blake3
import numpy as np
import numpy.typing as npt

from nasfeat_server.engine.artifacts import ArtifactStore, artifact_key
from nasfeat_server.engine.choice import engine_version, processor
from nasfeat_server.engine.cores import usable_cores
from nasfeat_server.engine.interface import Engine, EngineOptions
from nasfeat_server.engine.precision import features_of, write_reference
from nasfeat_server.errors import CacheError, ConfigurationError, WeightsError
from nasfeat_server.imaging.folder import read_folder
from nasfeat_server.imaging.framing import Framing
from nasfeat_server.network.weights.cache import can_keep, check_space, default_cache
from nasfeat_server.network.weights.locate import locate
from nasfeat_server.network.weights.values import Located, Report

_MOST_PICTURES = 256
_MOST_CHECKED = 32

_Found = TypeVar("_Found")


def main() -> None:
    """Prepare what the first argument names."""
    order: Mapping[str, Any] = json.loads(sys.argv[1])
    # The lines go where standard output went; what libraries print there must not come between them.
    with os.fdopen(os.dup(1), "w", buffering=1) as out, contextlib.suppress(BrokenPipeError):
        os.dup2(2, 1)

        def tell(**message: object) -> None:
            out.write(json.dumps(message) + "\n")

        def report(text: str) -> None:
            tell(progress=text)

        places = _Places(
            cache=Path(order["cache"]) if order["cache"] else default_cache(),
            scratch=Path(order["scratch"]) if order["scratch"] else None,
            warn=lambda text: tell(warning=text),
        )
        try:
            located = places.find(
                lambda cache: locate(
                    order["source"],
                    order["variant"],
                    keras_wiring=order["keras_wiring"],
                    cache_dir=cache,
                    report=report,
                )
            )
            artifact = (
                places.make(lambda cache: prepare(located, **order["preparation"], cache=cache, report=report))
                if order["preparation"]
                else None
            )
        except ConfigurationError as error:
            tell(refused=str(error))
        else:
            tell(located=dataclasses.asdict(located), artifact=str(artifact) if artifact else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """The cache, and the scratch directory that serves this start alone where the cache cannot be written to.

    A cache that is full or read-only costs the next start its time, and no start its success.
    """

    cache: Path
    scratch: Path | None
    warn: Report

    def find(self, find: Callable[[Path], _Found]) -> _Found:
        try:
            return find(self.cache)
        except WeightsError as error:
            if not self.scratch or can_keep(self.cache):
                raise
            self._tell(error)
            return find(self.scratch)

    def make(self, make: Callable[[Path], Path]) -> Path:
        try:
            return make(self.cache)
        except CacheError as error:
            if not self.scratch:
                raise
            self._tell(error)
            return make(self.scratch)

    def _tell(self, error: Exception) -> None:
        self.warn(f"{error}; this start goes on in {self.scratch}, and the next one will find nothing prepared")


def prepare(
    located: Located,
    *,
    engine: str,
    precision: str,
    buckets: Sequence[int],
    calibration: str | None = None,
    crop: str = "stretch",
    cache: Path | None,
    report: Report,
) -> Path:
    """Return the artifact that `engine` serves `located` from, made if it is not in the cache yet.

    Args:
        located: the network and its weights.
        engine: one of `choice.ENGINES` that computes.
        precision: one of `choice.PRECISIONS`.
        buckets: the batch sizes that replicas will run.
        calibration: a folder of pictures; needed for every precision but fp32.
        crop: how they are brought to the network's proportions.
        cache: the directory that artifacts are kept in; by default the user's.
        report: is told, a line at a time, what takes long.

    Raises:
        ConfigurationError: the weights or the pictures cannot be read, or the cache not be written to.
    """
    store = ArtifactStore((cache or default_cache()) / "prepared", report)
    recipe = _Recipe(located=located, engine=engine, buckets=tuple(buckets), report=report)
    plain = store.get(recipe.key(), recipe.make_plain)
    if precision == "fp32" or calibration is None:
        return plain
    images = read_folder(Path(calibration), located.spec.image_size, _MOST_PICTURES, Framing.parse(crop))
    pictures = blake3.blake3(images.data).hexdigest()
    return store.get(
        recipe.key(precision=precision, processor=processor(), pictures=pictures),
        functools.partial(recipe.make_precise, plain, precision, images),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipe:
    """How one engine's artifacts of one network are made."""

    located: Located
    engine: str
    buckets: tuple[int, ...]
    report: Report

    @property
    def module(self) -> Any:
        """The engine, imported only where something is made."""
        return importlib.import_module(f"nasfeat_server.engine.engines.{self.engine}")

    def key(self, **more: object) -> str:
        release = f"{self.engine} {engine_version(self.engine)}"
        return artifact_key(self.located, self.engine, {"engine": release, "buckets": self.buckets, **more})

    def make_plain(self, directory: Path) -> None:
        from nasfeat_server.engine.engines.parts import describe, write_description  # noqa: PLC0415
        from nasfeat_server.network.weights.read import read_weights  # noqa: PLC0415 - not for what is prepared

        self.report(f"preparing {self.located.source} for the {self.engine} engine; the next start finds it")
        weights = read_weights(self.located)
        check_space(directory, 2 * sum(array.nbytes for array in weights.variables.values()))
        write_description(describe(weights, "fp32"), directory)
        self.module.prepare(weights, self.buckets, directory)

    def make_precise(self, plain: Path, precision: str, images: npt.NDArray[np.uint8], directory: Path) -> None:
        from nasfeat_server.engine.engines.parts import copy_description  # noqa: PLC0415

        self.report(f"preparing {precision} with {len(images)} pictures")
        copy_description(plain, directory, precision)
        self.module.convert(plain, precision, images[::2], self.buckets, directory)
        self.report("computing in fp32 what it will be held against")
        options = EngineOptions(
            engine=self.engine,
            model=self.located,
            run_module_graph=False,
            cores=(),
            batch_buckets=(1,),
            artifact=str(plain),
            threads=usable_cores().threads,
        )
        reference: Engine = self.module.create(options)
        reference.load()
        checked = images[1::2][:_MOST_CHECKED]
        write_reference(directory, checked, features_of(reference, checked, 1))


if __name__ == "__main__":
    main()
