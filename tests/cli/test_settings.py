"""Settings from flags, variables and a file."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nasfeat_server.cli.main import main
from nasfeat_server.cli.serve import serve
from nasfeat_server.config import ServerConfig

_FAKE = ("--engine", "fake", "--weights", "random:0", "--variant", "cifar")


def _run(*arguments: str, variables: Mapping[str, str] | None = None) -> Result:
    return CliRunner(env=variables).invoke(main, arguments)


def _config(*arguments: str, variables: Mapping[str, str] | None = None) -> ServerConfig:
    with CliRunner(env=variables).isolation():
        context = serve.make_context("serve", list(arguments))
    config: ServerConfig = context.obj
    return config


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with one setting in each of two sections."""
    path = tmp_path / "nasfeat.toml"
    path.write_text('[limits]\nmax-streams = 7\n[supervision]\nhang = 3\n[engine]\ndevices = ["cpu:0"]\n')
    return path


def test_without_any_setting_the_defaults_hold() -> None:
    """What nobody sets is what the configuration's own defaults are."""
    assert _config("--devices", "cpu:0") == ServerConfig()


def test_the_file_is_behind_variables_and_flags(file: Path) -> None:
    """A flag wins over a variable, that over the file, and that over the default."""
    variables = {"NASFEAT_SERVER_MAX_STREAMS": "8"}
    assert _config("--config", str(file)).limits.max_streams == 7
    assert _config("--config", str(file), variables=variables).limits.max_streams == 8
    assert _config("--config", str(file), "--max-streams", "9", variables=variables).limits.max_streams == 9
    assert _config("--config", str(file)).hang_s == 3
    assert _config(variables={"NASFEAT_SERVER_CONFIG": str(file)}).limits.max_streams == 7


def test_a_switch_can_be_turned_off_again(tmp_path: Path) -> None:
    """A flag without a value is true or false in the file and as a variable."""
    path = tmp_path / "nasfeat.toml"
    path.write_text("[serving]\nsingle-flight = false\n[engine]\nxla = true\n")
    config = _config("--config", str(path))
    assert (config.single_flight, config.xla) == (False, True)
    assert _config("--config", str(path), "--single-flight").single_flight
    assert not _config(variables={"NASFEAT_SERVER_SINGLE_FLIGHT": "no"}).single_flight


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    """Each wrong value is named with where it came from and what is allowed, and the exit code is 2."""
    path = tmp_path / "nasfeat.toml"
    path.write_text("[engine]\nmax-batch = 4\n[limits]\nmax-window = 'x'\nmax-stream = 1\n[limit]\n")
    variables = {"NASFEAT_SERVER_HANG": "0", "NASFEAT_SERVER_MAX_BATCH": "3"}
    result = _run(*_FAKE, "--config", str(path), "--slots", "0", "--listen", "there", variables=variables)
    assert result.exit_code == 2
    told = [line.strip() for line in result.stderr.splitlines()[4:]]
    assert told == [
        f"{path}: [engine] has no key 'max-batch'; it belongs to [serving]",
        f"{path}: [limits] max-window: 'x' is not a whole number",
        f"{path}: [limits] has no key 'max-stream'; did you mean 'max-streams'?",
        f"{path}: there is no table [limit]; did you mean 'limits'?",
        "--slots: 0 is not in the range x>=1.",
        "--listen: 'there' is not HOST:PORT with a port of 0 to 65535",
        "NASFEAT_SERVER_HANG: 0.0 is not in the range x>0.",
        "NASFEAT_SERVER_MAX_BATCH: the largest batch must be a power of two, not 3",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[limits", "cannot be read as TOML"),
        ("a = " + "[" * 5000, "over 16 levels"),
        ("[limits]\nmax-window = 0x" + "f" * 5000, "a whole number of more than 64 bits"),
        ("[supervision]\nhang = nan", "hang: nan is not a finite number"),
        ("[supervision]\nhang = inf", "hang: inf is not a finite number"),
        ("[limits]\nmax-window = true", "max-window: True is not a whole number"),
        ("[limits]\nmax-window = 1.5", "max-window: 1.5 is not a whole number"),
        ("[model]\nweights = 3", "weights: 3 is not a text in quotes"),
        ("[engine]\nxla = 'yes'", "xla: 'yes' is not true or false"),
        ("[model]\nweights = ['a']", "weights: ['a'] is a list; one value is wanted"),
        ("hang = 3", "there is no table [hang]"),
        ("[engine]\nengine = 'abacus'", "[engine] engine: 'abacus' is not one of"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """A file that is no TOML, or holds what its setting cannot be, says so."""
    path = tmp_path / "nasfeat.toml"
    path.write_text(text)
    result = _run("--config", str(path))
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_setting_of_another_command_fails_by_itself() -> None:
    """A command that shares an option with the server complains of it as any command does."""
    result = _run("validate", "--precision-floor", "2")
    assert result.exit_code == 2
    assert "Invalid value for '--precision-floor'" in result.stderr


def test_the_help_has_every_setting_in_its_section() -> None:
    """`serve --help` shows each section, each flag, and where settings come from."""
    shown = _run("serve", "--help").output
    for setting in serve.settings():
        assert f"--{setting.key}" in shown
        assert f"[{setting.section}]:" in shown
    assert "NASFEAT_SERVER_NAME" in shown
