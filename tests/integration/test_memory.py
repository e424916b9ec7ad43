"""How the server's process uses memory."""

import asyncio
import platform
from pathlib import Path

import grpc.aio
import pytest

from nasfeat.v1 import feature_service_pb2_grpc
from programs import FAKE, server
from serving import frame, next_result, opening, pixels

_FRAMES = 200


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
async def test_the_memory_of_messages_is_used_again() -> None:
    """By default glibc gives the 80 pages of each 331x331 frame back to the system, and faults on the next one's."""
    async with server(*FAKE) as running, grpc.aio.insecure_channel(running.listening) as channel:
        counts = []
        for _ in range(4):
            call = feature_service_pb2_grpc.FeatureServiceStub(channel).StreamFeatures()
            await call.write(opening(window=32))
            sending = asyncio.create_task(_send(call))
            for _ in range(_FRAMES):
                assert await next_result(call)
            await sending
            counts.append(_page_faults(running.process.pid))
    per_frame = (counts[-1] - counts[0]) / (3 * _FRAMES)
    assert per_frame < 8, f"{per_frame:.1f} page faults a frame"


async def _send(call: grpc.aio.StreamStreamCall) -> None:  # type: ignore[type-arg]
    for number in range(_FRAMES):
        await call.write(frame(number, pixels(number, 331)))
    await call.done_writing()


def _page_faults(pid: int) -> int:
    """Count those that no disk was needed for: proc(5), minflt."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])
