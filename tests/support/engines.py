"""Engines in the test's own process, loaded from a cache as a replica would."""

import dataclasses
import importlib
from typing import Any

from nasfeat_server.engine.interface import EngineOptions
from nasfeat_server.network.spec import NetworkSpec
from nasfeat_server.network.weights.locate import locate
from nasfeat_server.preparer import prepare


def options_of(
    engine: str,
    weights: str,
    variant: str | NetworkSpec = "large",
    *,
    precision: str = "fp32",
    calibration: str | None = None,
    **changes: Any,
) -> EngineOptions:
    """Prepare `weights` for `engine` in the default cache, and give the options of a replica that serves them."""
    located = locate(weights, variant)
    artifact = prepare(
        located,
        engine=engine,
        precision=precision,
        buckets=(1, 2, 4),
        calibration=calibration,
        cache=None,
        report=print,
    )
    made = EngineOptions(
        engine=engine,
        model=located,
        run_module_graph=False,
        cores=(),
        batch_buckets=(1, 2, 4),
        precision=precision,
        artifact=str(artifact),
    )
    return dataclasses.replace(made, **changes)


def engine_of(options: EngineOptions) -> Any:
    """Make the engine that `options` name, not loaded."""
    return importlib.import_module(f"nasfeat_server.engine.engines.{options.engine}").create(options)
