"""Messages that are small on their way and large when they are unpacked."""

from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from programs import FAKE, start_server

_MIB = 2**20


def _peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


async def test_a_message_is_unpacked_as_far_as_the_limit_alone() -> None:
    """400 MiB of nothing are half a megabyte on their way: refused, without the memory for them."""
    running = await start_server(*FAKE, "--max-image-mib", "16")
    before = _peak_bytes(running.process.pid)
    options = (("grpc.max_send_message_length", -1),)
    async with grpc.aio.insecure_channel(
        running.listening, compression=grpc.Compression.Gzip, options=options
    ) as channel:
        call: Any = channel.unary_unary("/nasfeat.v1.FeatureService/ExtractFeatures")
        with pytest.raises(grpc.aio.AioRpcError, match="larger than max") as caught:
            await call(bytes(400 * _MIB))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert _peak_bytes(running.process.pid) - before < 150 * _MIB
    running.process.terminate()
    assert await running.process.wait() == 0
