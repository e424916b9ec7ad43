"""Every half minute all clients rest together, so that what the server takes can be compared: it has nothing to do.

The clock is the machine's, which all processes share.
"""

import asyncio
import time

_PERIOD_S = 30.0
_WORK_S = 25.0
# What was sent before has been answered by then, to slow readers too.
_QUIET_AFTER_S = 28.0


async def rest() -> None:
    """Return at once while there is to be work, else when the rest is over."""
    into_s = time.monotonic() % _PERIOD_S
    if into_s >= _WORK_S:
        await asyncio.sleep(_PERIOD_S - into_s)


def is_quiet() -> bool:
    """Tell whether the clients have been at rest for some seconds."""
    return time.monotonic() % _PERIOD_S >= _QUIET_AFTER_S
