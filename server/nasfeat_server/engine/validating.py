"""A replica started for its description alone: what a server would serve, and how its precision compares to fp32."""

import asyncio
import dataclasses

from nasfeat_server.config import ServerConfig
from nasfeat_server.engine.arena import Arena, ArenaLayout
from nasfeat_server.engine.cores import usable_cores
from nasfeat_server.engine.devices import place
from nasfeat_server.engine.interface import EngineOptions, ModelDescription
from nasfeat_server.engine.preparing import prepare_model, scratch
from nasfeat_server.engine.replica import Replica


async def validate(config: ServerConfig) -> ModelDescription:
    """Prepare what `config` names and warm one replica of it, on the first device.

    Raises:
        ConfigurationError: a server would not start; the precision's floor counts.
        ReplicaLostError: the replica died.
    """
    with scratch() as directory:
        return await _described(config, await prepare_model(config, directory))


async def _described(config: ServerConfig, options: EngineOptions) -> ModelDescription:
    placement = place(config.devices, usable_cores())[0]
    spec = options.model.spec
    layout = ArenaLayout(slots=1, image_height=spec.image_size, image_width=spec.image_size, result_bytes=1)
    replica = Replica(
        placement=placement,
        options=dataclasses.replace(options, cores=placement.cores, threads=placement.threads),
        arena=Arena.create(layout),
        hang_s=config.hang_s,
        start_limit_s=config.start_limit_s,
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            await replica.start()
            relaying = tasks.create_task(replica.relay_log())
            description = await replica.warm_up()
            relaying.cancel()
    finally:
        await replica.close()
    return description
