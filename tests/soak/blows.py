"""What befalls processes while the load runs: clients killed, replicas killed and stopped."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Sequence

import psutil
from tests.soak.plan import Blow, Deed, blow, drawing
from tests.soak.processes import ClientProcess


class Blows:
    """Deals blows until cancelled; what was stopped may then go on.

    Args:
        seed: of what is done, and when.
        hang_s: seconds after which the server takes a replica for hung.
        replicas: gives the processes there are.
        clients: gives those there are.
    """

    def __init__(
        self,
        *,
        seed: int,
        hang_s: float,
        replicas: Callable[[], Sequence[psutil.Process]],
        clients: Callable[[], Sequence[ClientProcess]],
    ) -> None:
        self._seed = seed
        self._hang_s = hang_s
        self._replicas = replicas
        self._clients = clients
        self._stopped: set[psutil.Process] = set()
        self.dealt: Counter[str] = Counter()

    async def run(self) -> None:
        """Deal one blow after the other."""
        draw = drawing(self._seed, "blows")
        try:
            async with asyncio.TaskGroup() as pauses:
                while True:
                    next_blow = blow(draw, hang_s=self._hang_s)
                    await asyncio.sleep(next_blow.after_s)
                    self._deal(next_blow, pauses)
        finally:
            for process in tuple(self._stopped):
                self._resume(process)

    def _deal(self, next_blow: Blow, pauses: asyncio.TaskGroup) -> None:
        victims = self._clients() if next_blow.deed is Deed.KILL_CLIENT else self._replicas()
        if not victims:
            return
        victim = victims[int(next_blow.victim * len(victims))]
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if next_blow.deed is Deed.STOP_REPLICA and isinstance(victim, psutil.Process):
                victim.suspend()
                self._stopped.add(victim)
                pauses.create_task(self._resume_after(victim, next_blow.stopped_s))
            else:
                victim.kill()
            self.dealt[next_blow.deed] += 1

    async def _resume_after(self, process: psutil.Process, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._resume(process)

    def _resume(self, process: psutil.Process) -> None:
        self._stopped.discard(process)
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()
