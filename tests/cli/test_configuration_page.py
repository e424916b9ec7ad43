"""The page on the configuration, and the example."""

import re
from pathlib import Path

from click.testing import CliRunner
from tests.cli.configuration_page import page

from nasfeat_server.cli.main import main

_ROOT = Path(__file__).parents[2]


def test_the_page_is_current() -> None:
    """docs/CONFIGURATION.md is what `python -m tests.cli.configuration_page` makes of the declarations."""
    assert (_ROOT / "docs" / "CONFIGURATION.md").read_text() == page()


def test_the_pages_example_is_one(tmp_path: Path) -> None:
    """The file on the page is taken."""
    example = re.findall(r"```toml\n(.*?)```", page(), re.DOTALL)[0]
    (tmp_path / "nasfeat.toml").write_text(example)
    result = CliRunner().invoke(main, ["config", "--config", str(tmp_path / "nasfeat.toml")])
    assert result.exit_code == 0, result.output
    assert 'devices = "gpu:0,gpu:1"' in result.stdout


def test_the_example_for_production_is_good() -> None:
    """deploy/nasfeat.toml passes check-config."""
    address = ("--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
    result = CliRunner().invoke(main, ["check-config", "--config", str(_ROOT / "deploy" / "nasfeat.toml"), *address])
    assert result.exit_code == 0, result.output
