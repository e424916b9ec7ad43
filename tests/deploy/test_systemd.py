"""The unit: taken by systemd's own checker, as closed as is promised, and in step with the server."""

import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from checkers import check, from_wheel, installed
from nasfeat_server.cli.main import main

DEPLOY = Path(__file__).parents[2] / "deploy"
UNIT = DEPLOY / "systemd" / "nasfeat.service"
PROGRAM = "/opt/nasfeat/bin/nasfeat-server"


@pytest.fixture(scope="module")
def systemd_analyze() -> str:
    """The program of systemd's that checks, or no test."""
    return installed("systemd-analyze", "systemd-analyze:systemd")


def setting(name: str) -> str:
    """Give the value of a setting that the unit has once."""
    (value,) = re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)
    return str(value)


def test_systemd_takes_the_unit(systemd_analyze: str, tmp_path: Path) -> None:
    """Every setting is known and has a value that is allowed; but for the program, which is elsewhere here."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(PROGRAM, str(from_wheel("nasfeat-server"))))
    assert check(systemd_analyze, "verify", "--man=no", unit) == ""


def test_the_unit_is_as_closed_as_is_promised(systemd_analyze: str) -> None:
    """Its exposure is 2.0 of 10 at most, in systemd's own count."""
    check(systemd_analyze, "security", "--offline=true", "--threshold=20", UNIT)


def test_systemd_would_make_the_user() -> None:
    """The line is understood; the unit is that user's."""
    path = DEPLOY / "systemd" / "nasfeat.sysusers"
    check(installed("systemd-sysusers", "systemd-analyze:systemd"), "--dry-run", path)
    assert path.read_text().splitlines()[-1].split()[1] == setting("User") == setting("Group")


def test_the_server_may_finish_what_it_has() -> None:
    """Longer than the longest grace that it is told of, and than the default."""
    graces = [30.0, tomllib.loads((DEPLOY / "nasfeat.toml").read_text())["serving"]["grace"]]
    assert float(setting("TimeoutStopSec")) >= max(graces) + 10
    assert setting("KillMode") == "mixed"


def test_the_commands_and_variables_are_the_servers(tmp_path: Path) -> None:
    """What is started, with another file in place of the machine's, is understood, the variables too."""
    file = tmp_path / "nasfeat.toml"
    file.write_text((DEPLOY / "nasfeat.toml").read_text())
    (variables,) = re.findall(r"^Environment=(NASFEAT_.*)$", UNIT.read_text(), re.MULTILINE)
    environment = dict(one.split("=") for one in variables.split())
    for command, name in (("check-config", "ExecStartPre"), ("serve", "ExecStart")):
        program, *arguments = setting(name).split()
        assert (program, arguments) == (PROGRAM, [command, "--config", "/etc/nasfeat/nasfeat.toml"])
    printed = CliRunner(env=environment).invoke(main, ["config", "--config", str(file)]).output
    assert [name for name in environment if f"from {name}" not in printed] == []


def test_a_server_that_cannot_start_is_not_started_again(tmp_path: Path) -> None:
    """The exit code that ends all attempts is that of a wrong configuration."""
    file = tmp_path / "nasfeat.toml"
    file.write_text("[serving]\ngrace = -1\n")
    result = CliRunner().invoke(main, ["serve", "--config", str(file)])
    assert result.exit_code == int(setting("RestartPreventExitStatus"))
