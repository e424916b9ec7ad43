"""The main program of the short-lived process that fetches the weights and prepares them for the engine.

The server's own process stays light, and so do replicas: what brings a framework to read weights is gone when they
start. It is started by `nasfeat_server.engine.preparing` with one JSON argument and writes JSON lines to its standard
output: {"progress": text} while it works, then {"located": ..., "artifact": path} or {"refused": message}.
"""

import contextlib
import dataclasses
import importlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nasfeat_server.engine.artifacts import ArtifactStore, artifact_key
from nasfeat_server.engine.choice import engine_version
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.network.weights.cache import check_space, default_cache
from nasfeat_server.network.weights.locate import locate
from nasfeat_server.network.weights.values import Located, Report


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

        cache = Path(order["cache"]) if order["cache"] else None
        try:
            located = locate(
                order["source"], order["variant"], keras_wiring=order["keras_wiring"], cache_dir=cache, report=report
            )
            artifact = (
                prepare(located, **order["preparation"], cache=cache, report=report) if order["preparation"] else None
            )
        except ConfigurationError as error:
            tell(refused=str(error))
        else:
            tell(located=dataclasses.asdict(located), artifact=str(artifact) if artifact else None)


def prepare(
    located: Located, *, engine: str, precision: str, buckets: Sequence[int], cache: Path | None, report: Report
) -> Path:
    """Return the artifact that `engine` serves `located` from, made if it is not in the cache yet.

    Raises:
        WeightsError: the weights cannot be read, or the cache not be written to.
    """

    def make(directory: Path) -> None:
        from nasfeat_server.engine.engines.parts import describe, write_description  # noqa: PLC0415
        from nasfeat_server.network.weights.read import read_weights  # noqa: PLC0415 - not for what is prepared

        report(f"preparing {located.source} for the {engine} engine in {precision}; the next start finds it")
        weights = read_weights(located)
        check_space(directory, 2 * sum(array.nbytes for array in weights.variables.values()))
        write_description(describe(weights, precision), directory)
        module = importlib.import_module(f"nasfeat_server.engine.engines.{engine}")
        module.prepare(weights, precision, buckets, directory)

    store = ArtifactStore((cache or default_cache()) / "prepared", report)
    made_for = {"engine": f"{engine} {engine_version(engine)}", "precision": precision, "buckets": list(buckets)}
    return store.get(artifact_key(located, engine, made_for), make)


if __name__ == "__main__":
    main()
