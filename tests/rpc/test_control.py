"""The operators' socket."""

import asyncio
import socket
import stat
from pathlib import Path

import pytest

from nasfeat_server.errors import ConfigurationError, ReloadError
from nasfeat_server.rpc.control import ControlServer
from nasfeat_server.rpc.control_client import as_json, as_text, connected
from nasfeat_server.telemetry import logging
from serving import FAKE, running


async def test_only_the_servers_user_may_open_it(tmp_path: Path) -> None:
    """The socket is for its owner alone, and gone when the server is."""
    path = tmp_path / "control"
    async with running(FAKE, control=path):
        mode = (await asyncio.to_thread(path.stat)).st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
    assert not await asyncio.to_thread(path.exists)


async def test_a_second_server_does_not_take_it_over(tmp_path: Path) -> None:
    """A socket on which a server answers is left to it; the second server does not start."""
    path = tmp_path / "control"
    async with running(FAKE, control=path) as app:
        assert app.models
        with pytest.raises(ConfigurationError, match="another server answers"):
            async with ControlServer(path, app.models):
                raise AssertionError("it listens")
        async with connected(path) as admin:
            assert (await admin.status()).ready


async def test_a_socket_left_behind_is_replaced(tmp_path: Path) -> None:
    """A server that was killed leaves its socket behind, and the next one starts all the same."""
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with running(FAKE, control=path), connected(path) as admin:
        assert (await admin.status()).ready


async def test_the_status_is_for_people_and_programs(tmp_path: Path) -> None:
    """It names the version, its share, its calls and its devices."""
    path = tmp_path / "control"
    async with running(FAKE, control=path, model_version="spring"), connected(path) as admin:
        state = await admin.status()
    assert "stable    spring: fake_nasnet_cifar of random:0" in as_text(state)
    assert "100% of new calls, 0 streams, 0 calls, warm on cpu:0" in as_text(state)
    assert '"version": "spring"' in as_json(state)


async def test_the_log_level_changes_at_once(tmp_path: Path) -> None:
    """From the order on the log has other lines; an unknown level is refused."""
    path = tmp_path / "control"
    before = logging.level()
    try:
        async with running(FAKE, control=path), connected(path) as admin:
            await admin.set_log_level("error")
            assert (await admin.status()).log_level == "error"
            with pytest.raises(ReloadError, match="'loud' is not a level"):
                await admin.set_log_level("loud")
    finally:
        logging.set_level(before)


async def test_nobody_answers(tmp_path: Path) -> None:
    """Where no server listens, an order fails with a reason."""
    async with connected(tmp_path / "control") as admin:
        with pytest.raises(ReloadError, match="control"):
            await admin.status()
