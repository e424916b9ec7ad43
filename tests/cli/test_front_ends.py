"""--front-ends: how many there are, and what cannot be had with several."""

from typing import Any

import pytest
from click.testing import CliRunner

from nasfeat_server.cli.main import main
from nasfeat_server.cli.settings import build
from nasfeat_server.config import Endpoint, SecurityConfig, ServerConfig
from nasfeat_server.errors import InvalidSettingsError


@pytest.mark.parametrize(
    ("devices", "cores", "wanted"),
    [
        (("cpu:0", "cpu:1"), 64, 1),
        (("gpu:0",), 8, 1),
        (("gpu:0", "gpu:1", "gpu:2", "gpu:3"), 16, 4),
        (("gpu:0", "gpu:1", "gpu:2", "gpu:3"), 4, 2),
        (("gpu:0", "gpu:1"), 1, 1),
    ],
)
def test_auto_takes_one_for_each_gpu_as_far_as_there_are_cores(
    devices: tuple[str, ...], cores: int, wanted: int
) -> None:
    """Two cores for each; processors need theirs to compute."""
    assert build._front_ends("auto", devices, cores) == wanted


def test_a_port_of_roots_is_refused_with_several_and_another_user() -> None:
    """They bind it themselves, when root's rights have been given up."""
    changes: Any = {"security": SecurityConfig(user="nobody"), "listen": Endpoint(host="127.0.0.1", port=443)}
    ServerConfig(**changes)
    with pytest.raises(InvalidSettingsError) as refused:
        ServerConfig(front_ends=2, **changes)
    assert [name for name, _ in refused.value.wrong] == ["user"]


@pytest.mark.parametrize(
    ("value", "complaint"), [("0", "1 to 64 front ends"), ("65", "1 to 64"), ("two", "nor 'auto'")]
)
def test_a_wrong_number_is_refused_with_what_is_allowed(value: str, complaint: str) -> None:
    """On the command line, before anything starts."""
    result = CliRunner().invoke(main, ["config", "--front-ends", value])
    assert result.exit_code == 2
    assert complaint in result.output
