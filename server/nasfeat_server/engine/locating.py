"""Where the weights are, found before any replica starts, in a process of its own that may bring frameworks along."""

import asyncio
import json
import logging
import os
import sys
import tempfile
from typing import Any

from nasfeat_server.config import ServerConfig
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.network.spec import find_spec
from nasfeat_server.network.weights.values import Located, located_of

_log = logging.getLogger(__name__)


async def locate_weights(config: ServerConfig) -> Located:
    """Fetch the weights that `config` names if they are not on this machine, and say which network they are of.

    Raises:
        ConfigurationError: they cannot be had.
    """
    if config.engine == "fake":
        spec = find_spec(config.variant or "large")
        return Located(source=config.weights, location=config.weights, spec=spec, labels=(), trained=False)
    order = {
        "source": config.weights,
        "variant": config.variant,
        "keras_wiring": config.keras_wiring,
        "cache": str(config.cache) if config.cache else None,
    }
    with tempfile.TemporaryFile() as words:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "nasfeat_server.engine.locator",
            json.dumps(order),
            stdout=asyncio.subprocess.PIPE,
            stderr=words,
            limit=2**20,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"},
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
    _log.debug("looking for the weights wrote: %s", last_words)
    if answer is None:
        raise ConfigurationError(f"the process that looks for the weights died; it last wrote:\n{last_words}")
    return answer


async def _answer(process: asyncio.subprocess.Process) -> Located | None:
    if not process.stdout:
        raise AssertionError("the output is a pipe")
    async for line in process.stdout:
        message: dict[str, Any] = json.loads(line)
        if "progress" in message:
            _log.info("weights: %s", message["progress"])
        elif "refused" in message:
            raise ConfigurationError(message["refused"])
        else:
            return located_of(message["located"])
    return None
