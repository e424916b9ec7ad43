"""What tests ask of a server whose replicas are on a Ray cluster: answers that are the frames' own, and its metrics."""

import asyncio
import re

import numpy as np

from nasfeat_client import AsyncFeatureClient
from nasfeat_server.config import Endpoint
from nasfeat_server.engine.fake import fingerprint
from programs import RunningServer
from web import ask


async def samples(server: RunningServer, name: str) -> dict[str, float]:
    """Give the values of a metric by its labels."""
    text = (await ask(Endpoint.parse(server.metrics), "/metrics")).body.decode()
    return {labels: float(value) for labels, value in re.findall(rf"^{name}{{(.*)}} (\S+)$", text, re.MULTILINE)}


async def total(server: RunningServer, name: str, label: str = "") -> float:
    """Add up the values of a metric whose labels have `label` among them."""
    return sum(value for labels, value in (await samples(server, name)).items() if label in labels)


async def reach(server: RunningServer, name: str, value: float, label: str = "") -> None:
    """Ask until a metric is so large: what happens in other processes sets no event here."""
    while await total(server, name, label) < value:  # noqa: ASYNC110
        await asyncio.sleep(0.1)


async def stream(server: RunningServer, frames: int, seed: int) -> None:
    """Send frames that all differ, and hold every vector against its image: none lost, doubled or exchanged."""
    images = np.random.default_rng(seed).integers(0, 250, (frames, 32, 32, 3), np.uint8)
    expected = fingerprint(images, 768)
    async with AsyncFeatureClient(server.listening) as client:
        results = [result async for result in client.stream(iter(images))]
    assert [result.frame_id for result in results] == list(range(frames))
    for result, vector in zip(results, expected, strict=True):
        result.raise_for_error()
        assert np.array_equal(result.vector, vector)
