"""Before any replica starts: the weights are found and prepared, in a process that may bring frameworks along."""

import asyncio
import contextlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nasfeat_server.config import ServerConfig
from nasfeat_server.engine.choice import FAKE, choose_engine
from nasfeat_server.engine.cores import usable_cores
from nasfeat_server.engine.interface import EngineOptions
from nasfeat_server.engine.scratch import temporary_place
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.network.spec import find_spec
from nasfeat_server.network.weights.cache import default_cache
from nasfeat_server.network.weights.values import Located, located_of

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def scratch() -> Iterator[Path | None]:
    """Give a directory for what a cache cannot keep, gone with the context; None where nothing can be written."""
    try:
        made = tempfile.TemporaryDirectory(prefix="nasfeat-", ignore_cleanup_errors=True)
    except OSError:
        yield None
        return
    with made as directory:
        yield Path(directory)


async def prepare_model(config: ServerConfig, scratch: Path | None = None) -> EngineOptions:
    """Choose the engine, fetch the weights that `config` names if they are not on this machine, and prepare them.

    Args:
        config: what is to be served.
        scratch: where that goes if the cache cannot be written to; it must last as long as what is prepared is used.

    Returns:
        What every replica loads, with the threads of one that is alone; its cores are up to its placement.

    Raises:
        ConfigurationError: the engine is not installed, or the weights cannot be had or not be prepared.
    """
    choice = choose_engine(
        config.engine, devices=config.computed_on, precision=config.precision, run_module_graph=config.run_module_graph
    )
    _log.info("engine: %s, %s", choice.engine, choice.why)
    if choice.engine == FAKE:
        model, artifact = _nothing(config), None
    else:
        model, artifact = await _prepare(config, choice.engine, scratch)
    return EngineOptions(
        engine=choice.engine,
        model=model,
        run_module_graph=config.run_module_graph,
        precision=config.precision,
        precision_floor=config.precision_floor,
        xla=config.xla,
        artifact=artifact,
        cores=(),
        batch_buckets=config.batch_buckets,
        threads=usable_cores().threads,
    )


def _nothing(config: ServerConfig) -> Located:
    spec = find_spec(config.variant or "large")
    return Located(source=config.weights, location=config.weights, spec=spec, labels=(), trained=False)


async def _prepare(config: ServerConfig, engine: str, scratch: Path | None) -> tuple[Located, str | None]:
    preparation = {
        "engine": engine,
        "precision": config.precision,
        "buckets": config.batch_buckets,
        "calibration": str(config.calibration) if config.calibration else None,
        "crop": config.crop,
    }
    order = {
        "source": config.weights,
        "variant": config.variant,
        "keras_wiring": config.keras_wiring,
        "cache": str(config.cache) if config.cache else None,
        "scratch": str(scratch) if scratch else None,
        "preparation": None if config.run_module_graph else preparation,
    }
    # Memory and no file: there may be no place for files.
    with os.fdopen(os.memfd_create("nasfeat-preparer"), "w+b") as words:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "nasfeat_server.preparer",
            json.dumps(order),
            stdout=asyncio.subprocess.PIPE,
            stderr=words,
            limit=2**20,
            env=os.environ
            | {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
            | dict(temporary_place(config.cache or default_cache())),
            start_new_session=True,
        )
        try:
            answer = await _answer(process)
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        words.seek(0)
        last_words = words.read()[-4096:].decode(errors="replace")
    _log.debug("preparing the model wrote: %s", last_words)
    if answer is None:
        raise ConfigurationError(f"the process that prepares the model died; it last wrote:\n{last_words}")
    return answer


async def _answer(process: asyncio.subprocess.Process) -> tuple[Located, str | None] | None:
    if not process.stdout:
        raise AssertionError("the output is a pipe")
    async for line in process.stdout:
        message: dict[str, Any] = json.loads(line)
        if "progress" in message:
            _log.info("weights: %s", message["progress"])
        elif "warning" in message:
            _log.warning("weights: %s", message["warning"])
        elif "refused" in message:
            raise ConfigurationError(message["refused"])
        else:
            return located_of(message["located"]), message["artifact"]
    return None
