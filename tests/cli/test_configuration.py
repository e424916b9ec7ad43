"""`nasfeat-server config` and `check-config`."""

import re
import socket
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nasfeat_server.cli.main import main
from nasfeat_server.cli.serve import serve


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_what_is_printed_configures_the_same(tmp_path: Path) -> None:
    """The printed configuration, given as a file, prints the same values again."""
    path = tmp_path / "nasfeat.toml"
    options = ("--max-batch", "2", "--listen", "0.0.0.0:1", "--no-single-flight", "--cache", tmp_path, "--hang", "1.5")
    printed = _run("config", "--print", *options).stdout
    path.write_text(printed)
    again = _run("config", "--config", path).stdout
    assert tomllib.loads(again) == tomllib.loads(printed)
    assert tomllib.loads(printed)["supervision"]["hang"] == 1.5
    assert tomllib.loads(printed)["serving"]["single-flight"] is False


def test_every_value_says_where_it_comes_from(tmp_path: Path) -> None:
    """Beside each value stands the flag, the variable, the file or that it is the default."""
    path = tmp_path / "nasfeat.toml"
    path.write_text("[limits]\nmax-window = 5\n")
    runner = CliRunner(env={"NASFEAT_SERVER_GRACE": "3"})
    printed = runner.invoke(main, ["config", "--config", str(path), "--hang", "2"]).stdout
    assert f"max-window = 5 # from {path}: [limits] max-window" in printed
    assert "grace = 3.0 # from NASFEAT_SERVER_GRACE" in printed
    assert "hang = 2.0 # from --hang" in printed
    assert "outage = 60.0 # default" in printed
    assert "# slots is not set" in printed


def test_every_setting_is_printed() -> None:
    """No setting is missing."""
    printed = _run("config").stdout
    for setting in serve.settings():
        assert re.search(rf"^(# )?{setting.key} (=|is not set)", printed, re.MULTILINE), setting.key


def test_a_good_configuration_is_called_good() -> None:
    """Nothing is started, and the exit code is 0."""
    result = _run("check-config", "--engine", "fake", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
    assert (result.exit_code, result.stdout) == (0, "The configuration is good.\n")


def test_what_settings_name_is_looked_at(tmp_path: Path) -> None:
    """Devices, folders, files and addresses that are not there are named, all at once, with wrong values."""
    file = tmp_path / "file"
    file.touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = _run(
            "check-config",
            *("--devices", "gpu:77", "--weights", "/nowhere", "--calibration", tmp_path, "--crop", "round"),
            *("--control", file / "socket", "--listen", f"127.0.0.1:{port}", "--metrics", "127.0.0.1:0"),
            *("--engine", "tensorflow", "--variant", "huge", "--grace", "-1"),
        )
    assert result.exit_code == 2
    for told in (
        "--grace: -1.0 is not in the range x>=0.",
        "--devices: there is no gpu:77 on this machine, only ",
        "--crop: ",
        "--variant: ",
        "--weights: there is nothing at /nowhere",
        f"--control: {file} is no folder",
        f"--calibration: there is no picture in {tmp_path}",
        f"--listen: 127.0.0.1:{port} cannot be listened on: Address already in use",
    ):
        assert told in result.stderr


def test_two_things_cannot_listen_on_one_port() -> None:
    """GRPC and metrics need a port each."""
    result = _run("check-config", "--engine", "fake", "--listen", "127.0.0.1:55551", "--metrics", "127.0.0.1:55551")
    assert "each needs a port of its own" in result.stderr


@pytest.mark.parametrize("command", ["serve", "config", "check-config"])
def test_all_three_take_the_same_settings(command: str) -> None:
    """What serve takes can be printed and checked."""
    shown = _run(command, "--help").stdout
    for setting in serve.settings():
        assert f"--{setting.key}" in shown
