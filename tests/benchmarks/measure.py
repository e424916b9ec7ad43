"""What the benchmarks share: programs started and awaited, streams pumped, memory read."""

import asyncio
import contextlib
import itertools
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import psutil
from PIL import Image
from skimage import data

from nasfeat.v1 import feature_service_pb2, feature_service_pb2_grpc, image_pb2

SIZE = 331
_PHOTOGRAPHS = frozenset({"astronaut", "coffee", "chelsea", "rocket", "motorcycle_left", "retina"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A server in a process of its own, listening at `address`."""

    address: str
    process: psutil.Process
    start_s: float

    def cpu_s(self) -> float:
        """Read the processor time that the server's own process has used."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def memory_mb(self) -> tuple[float, list[float]]:
        """Read the resident memory without the shared arena: of the server and of each of its replicas, in MB."""
        return _private_mb(self.process), [_private_mb(child) for child in self.process.children()]


def _private_mb(process: psutil.Process) -> float:
    memory = process.memory_info()
    return (memory.rss - memory.shared + _mapped_files(process)) / 1e6


def _mapped_files(process: psutil.Process) -> int:
    """Libraries are part of a program's memory, the arena is not: count file pages, leave shared memory out."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"RssFile:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


@contextlib.asynccontextmanager
async def program(*command: str | Path) -> AsyncIterator[Program]:
    """Run `command`, which says where it serves, until the context ends."""
    started_at = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    if not process.stdout:
        raise AssertionError("the output is a pipe")
    lines = []
    while line := (await process.stdout.readline()).decode():
        lines.append(line)
        if found := re.search(r"serving \S+ on (\S+), metrics on", line):
            break
    else:
        raise RuntimeError("".join(lines))
    reading = asyncio.ensure_future(process.stdout.read())
    try:
        yield Program(address=found[1], process=psutil.Process(process.pid), start_s=time.monotonic() - started_at)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        await reading


def photographs(count: int, size: int = SIZE) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Make `count` distinct images of the network's size: uint8 [count, size, size, 3]."""
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def write_photographs(directory: Path) -> None:
    """Write parts of the photographs that scikit-image brings: those who calibrate want many pictures."""
    directory.mkdir()
    for name, path in enumerate(sorted(Path(data.__file__).parent.glob("*"))):
        if path.stem not in _PHOTOGRAPHS:
            continue
        picture = Image.open(path).convert("RGB")
        for part, (scale, across, down) in enumerate(itertools.product((1, 0.7, 0.5), (0, 0.5, 1), (0, 0.5, 1))):
            width, height = int(picture.width * scale), int(picture.height * scale)
            left, top = int((picture.width - width) * across), int((picture.height - height) * down)
            picture.crop((left, top, left + width, top + height)).save(directory / f"{name}-{part}.jpg", quality=92)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pumped:
    """What a round of frames took: frames a second, and processor time of the server's process for each."""

    frames_per_s: float
    cpu_us: float


async def pump(
    server: Program, *, frames: int, per_message: int = 1, window: int = 32, size: int = SIZE, own: bool = False
) -> Pumped:
    """Send `frames` raw frames of `size`, so many a message, over one stream, maybe on a connection of its own."""
    # All that are in flight at once differ: identical ones would be computed once.
    images = [_raw(picture.tobytes(), size) for picture in photographs(2 * window, size)]
    room = asyncio.Semaphore(window)
    options_of_channel = (("grpc.use_local_subchannel_pool", int(own)),)
    async with grpc.aio.insecure_channel(server.address, options=options_of_channel) as channel:
        call = feature_service_pb2_grpc.FeatureServiceStub(channel).StreamFeatures()
        options = feature_service_pb2.StreamOptions(window=window, frames_per_message=per_message)
        await call.write(feature_service_pb2.StreamFeaturesRequest(options=options))
        await call.read()
        started_at, cpu_s = time.perf_counter(), server.cpu_s()
        sending = asyncio.ensure_future(_send(call, images, frames, per_message, room))
        answered = 0
        while answered < frames:
            reply: Any = await call.read()
            if reply.HasField("window_update"):
                continue
            for result in reply.results.results if reply.HasField("results") else (reply.result,):
                answered += 1
                if not result.HasField("features"):
                    raise RuntimeError(str(reply))
                room.release()
        elapsed_s, cpu_s = time.perf_counter() - started_at, server.cpu_s() - cpu_s
        await sending
        await call.done_writing()
    return Pumped(frames_per_s=frames / elapsed_s, cpu_us=cpu_s / frames * 1e6)


def _raw(data: bytes, size: int) -> image_pb2.Image:
    raw = image_pb2.RawImage(data=data, pixel_format=image_pb2.PIXEL_FORMAT_RGB8, height=size, width=size)
    return image_pb2.Image(raw=raw)


async def _send(
    call: Any, images: list[image_pb2.Image], frames: int, per_message: int, room: asyncio.Semaphore
) -> None:
    for first in range(0, frames, per_message):
        request = feature_service_pb2.StreamFeaturesRequest()
        for number in range(first, min(first + per_message, frames)):
            await room.acquire()
            frame = request.frame if per_message == 1 else request.frames.frames.add()
            frame.frame_id = number
            frame.image.CopyFrom(images[number % len(images)])
        await call.write(request)
