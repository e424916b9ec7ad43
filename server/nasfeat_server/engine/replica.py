"""A replica as the server's process sees it: a child process behind a socket, one life long."""

import asyncio
import contextlib
import dataclasses
import json
import logging
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nasfeat_server.engine.answers import Answers
from nasfeat_server.engine.arena import Arena
from nasfeat_server.engine.devices import Placement
from nasfeat_server.engine.interface import EngineOptions, ModelDescription, Outputs, description_of
from nasfeat_server.engine.scratch import temporary_place
from nasfeat_server.errors import ConfigurationError, DeviceMemoryError, ExecutionFailedError, ReplicaLostError

_log = logging.getLogger(__name__)


class Replica:
    """An `Executor` whose engine runs in a process of its own. `start` it first; it is not restarted.

    Args:
        placement: the device, and the cores that the process is pinned to.
        options: what to load.
        arena: where images are read and feature vectors are left; inherited by the process.
        hang_s: seconds without an answer to a batch after which the process is taken for hung and killed.
        start_limit_s: the same while it starts, since its last sign of progress.
    """

    def __init__(
        self, *, placement: Placement, options: EngineOptions, arena: Arena, hang_s: float, start_limit_s: float
    ) -> None:
        self._placement = placement
        self._options = options
        self._arena = arena
        self._hang_s = hang_s
        self._start_limit_s = start_limit_s
        self._max_batch_size = options.batch_buckets[-1]
        self._answers = Answers(placement.device, self._kill_hung)
        self._process: asyncio.subprocess.Process | None = None
        self._last_words: deque[str] = deque(maxlen=20)
        self._hung = False

    def __repr__(self) -> str:
        """Show the device and the process."""
        return f"<Replica {self.device} pid={self.pid}>"

    @property
    def device(self) -> str:
        """The device's name, e.g. "cpu:0"."""
        return self._placement.device

    @property
    def max_batch_size(self) -> int:
        """The largest batch size prepared: less than was asked for if the device has not the memory."""
        return self._max_batch_size

    @property
    def pid(self) -> int | None:
        """The process id once started."""
        return self._process.pid if self._process else None

    @property
    def last_words(self) -> str:
        """The last lines that the process wrote and `relay_log` has read."""
        return "\n".join(self._last_words)

    async def start(self) -> int:
        """Start the process, which then loads by itself; returns its id."""
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as undo, theirs:
            # A start that is cancelled leaves nothing open.
            undo.callback(ours.close)
            start = {
                "options": dataclasses.asdict(self._options),
                "layout": dataclasses.asdict(self._arena.layout),
                "arena_fd": self._arena.fd,
                "socket_fd": theirs.fileno(),
            }
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "nasfeat_server.engine.worker",
                json.dumps(start),
                pass_fds=(self._arena.fd, theirs.fileno()),
                stderr=asyncio.subprocess.PIPE,
                env=self._environment(),
                # A Ctrl-C at the terminal is for the server, which then stops its replicas in order.
                start_new_session=True,
            )
            await asyncio.get_running_loop().create_connection(lambda: self._answers, sock=ours)
            undo.pop_all()
        return self._process.pid

    def _environment(self) -> dict[str, str]:
        artifact = self._options.artifact
        place = temporary_place(Path(artifact).parent) if artifact else {}
        return os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"} | dict(place) | dict(self._placement.environment)

    async def relay_log(self) -> None:
        """Pass on what the process writes, until it ends: at debug level, since frameworks talk about themselves."""
        if not self._process or not self._process.stderr:
            return
        while chunk := await self._process.stderr.read(2**16):
            for line in chunk.decode(errors="replace").splitlines():
                self._last_words.append(line)
                _log.debug("replica %s (pid %s) wrote: %s", self.device, self.pid, line)

    async def warm_up(self) -> ModelDescription:
        """Return when every batch size has run once.

        Raises:
            ConfigurationError: the replica cannot serve what it was told to.
            ReplicaLostError: the process died on the way.
        """
        while True:
            message: dict[str, Any] = json.loads(await self._answers.next(self._start_limit_s))
            if "progress" in message:
                _log.info("replica %s (pid %s): %s", self.device, self.pid, message["progress"])
            elif "refused" in message:
                raise ConfigurationError(message["refused"])
            else:
                self._max_batch_size = message["max_batch_size"]
                return description_of(message["loaded"])

    async def run(self, slots: Sequence[int], outputs: Sequence[Outputs]) -> float:
        """Run one batch; see `Executor.run`."""
        if self._answers.over:
            raise ReplicaLostError(f"replica {self.device} is gone", started=False)
        self._answers.send(json.dumps({"run": slots, "outputs": outputs}).encode())
        # They come in the order of the batches.
        message: dict[str, Any] = json.loads(await self._answers.next(self._hang_s))
        if "failed" in message:
            _log.warning("replica %s failed on a batch of %d: %s", self.device, len(slots), message["failed"])
            error = DeviceMemoryError if message["out_of_memory"] else ExecutionFailedError
            raise error(message["failed"])
        return float(message["done"])

    async def wait_lost(self) -> str:
        """Return when the process is dead and every call of `run` has heard of it: "killed", "exited" or "hung"."""
        if not self._process:
            return "exited"
        status = await self._process.wait()
        await self._answers.settled()
        if self._hung:
            return "hung"
        return "killed" if status < 0 else "exited"

    async def close(self) -> None:
        """End the process: by closing its socket, and by force if it does not end within a few seconds."""
        await self._answers.close()
        if not self._process or self._process.returncode is not None:
            return
        try:
            async with asyncio.timeout(5):
                await self._process.wait()
        except TimeoutError:
            _log.warning("replica %s (pid %s) does not end: killed", self.device, self.pid)
        finally:
            self._kill()
            await self._process.wait()

    def _kill_hung(self) -> None:
        self._hung = True
        self._kill()

    def _kill(self) -> None:
        if self._process and self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
