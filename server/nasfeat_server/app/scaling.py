"""Replicas that follow the load: what `Scaler` decides from the queue is carried out by the fleet."""

import asyncio
import logging

from nasfeat_server.engine.fleet import Fleet
from nasfeat_server.scheduling.dispatcher import Dispatcher
from nasfeat_server.scheduling.scaling import Scaler, ScalingPolicy

_log = logging.getLogger(__name__)

# In the time after which more replicas are asked for: enough to tell whether images mostly waited.
_LOOKS = 20


async def follow_load(policy: ScalingPolicy, dispatcher: Dispatcher, fleet: Fleet) -> None:
    """Look at the queue, and tell the fleet how many replicas there shall be; return if that is always the same."""
    if policy.least == policy.most:
        return
    scaler = Scaler(policy)
    while True:
        await asyncio.sleep(policy.up_after_s / _LOOKS)
        before = scaler.wanted
        wanted = scaler.look(dispatcher.look())
        if wanted != before:
            _log.info("replicas that the load needs: %d, before %d", wanted, before)
            fleet.want(wanted)
