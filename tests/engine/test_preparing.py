"""Weights are found by a process of its own, before any replica starts."""

import asyncio
import logging
import sys
from pathlib import Path

import psutil
import pytest

from nasfeat_server.config import ServerConfig
from nasfeat_server.engine.preparing import prepare_model
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.network.spec import VARIANTS, find_spec

FOLDER = Path(__file__).parents[1] / "data" / "oracle" / "tiny_cifar"


async def test_what_is_found_comes_back_whole() -> None:
    """The source as named, the place, the spec and its wiring cross the process."""
    config = ServerConfig(weights=str(FOLDER / "model.ckpt"), variant=str(FOLDER / "spec.json"), keras_wiring=True)
    located = (await prepare_model(config)).model
    assert (located.source, located.trained, located.spec.wiring) == (config.weights, True, "keras")
    assert located.spec.num_cells == find_spec(str(config.variant)).num_cells


async def test_without_a_variant_it_is_large() -> None:
    """Random weights say nothing of their network."""
    assert (await prepare_model(ServerConfig(weights="random:0", run_module_graph=True))).model.spec == VARIANTS[
        "large"
    ]


@pytest.mark.parametrize(
    ("weights", "variant", "message"),
    [("/nowhere", None, "/nowhere"), ("random:0", "huge", "no variant 'huge'; the variants are large, mobile, cifar")],
)
async def test_a_refusal_has_the_words_of_the_network_package(weights: str, variant: str, message: str) -> None:
    """What is wrong with the source or the variant reaches the operator, without a group around it."""
    with pytest.raises(ConfigurationError, match=message):
        await prepare_model(ServerConfig(weights=weights, variant=variant))


async def test_a_process_that_dies_is_a_refusal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server does not hang when the process says nothing."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ConfigurationError, match="process that prepares the model died"):
        await prepare_model(ServerConfig(weights="random:0"))


async def test_stopping_meanwhile_leaves_no_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Progress is logged as it comes; a server stopped during a download takes the download with it."""
    slow = tmp_path / "slow"
    slow.write_text('#!/bin/sh\necho \'{"progress": "5 of 300 MiB"}\'\nexec sleep 600\n')
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    caplog.set_level(logging.INFO)
    # Tests before this one may have started some that stay, such as Python's tracker of shared memory.
    before = psutil.Process().children()
    looking = asyncio.ensure_future(prepare_model(ServerConfig()))
    while "weights: 5 of 300 MiB" not in caplog.text:  # noqa: ASYNC110 - a log has no event
        await asyncio.sleep(0.005)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert set(psutil.Process().children()) <= set(before)
