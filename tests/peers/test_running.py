"""How a run is set up: options, environments, what the pictures are."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from peers import environments
from peers.__main__ import main
from peers.catalogue import PEERS
from peers.environments import MissingError, pins, provide
from peers.pictures import read_pictures
from peers.written import write_pictures


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--peers", "nasfeat,torchserve", "'torchserve' is none of echo, nasfeat"),
        ("--clients", "8,0", "'8,0' must be of numbers from 1 to 128"),
        ("--clients", "many", "'many' must be whole numbers"),
    ],
)
def test_options_that_cannot_be_are_refused(option: str, value: str, message: str) -> None:
    """What was wrong is said, and what is allowed."""
    result = CliRunner().invoke(main, [option, value])
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


def test_every_peer_is_pinned() -> None:
    """A run is of known versions."""
    names = {peer.environment for peer in PEERS if peer.environment}
    assert names
    for name in names:
        assert pins(name)
        assert all(pin.count("==") == 1 for pin in pins(name))


async def test_a_peer_that_cannot_be_installed_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run tries again."""
    monkeypatch.setattr(environments, "_DEBIANS", tmp_path / "python3.11")
    monkeypatch.setattr(environments, "BUILD", tmp_path / "build")
    with pytest.raises(MissingError, match=r"it needs .*/python3\.11: Triton's stub is linked to libpython3"):
        await provide("triton")
    assert not (tmp_path / "build" / "triton" / "made").exists()


async def test_the_reason_of_a_failed_installation_is_what_pip_said_last() -> None:
    """Warnings are left out, and the last lines tell."""
    lines = ("Collecting mosec", "WARNING: Retrying", "ERROR: No matching distribution found for mosec==0.0.0")
    command = (sys.executable, "-S", "-c", f"import sys; [print(line) for line in {lines}]; sys.exit(1)")
    with pytest.raises(MissingError, match="Collecting mosec; ERROR: No matching distribution found for mosec==0"):
        await environments._run(command)


def test_pictures_differ_and_are_written_once(tmp_path: Path) -> None:
    """Every caller has pictures of its own: raw pixels of the size asked for, and JPEGs of the same."""
    write_pictures(tmp_path / "pictures", 64)
    pictures = read_pictures(tmp_path / "pictures")
    assert {len(pixels) for pixels in pictures.raw} == {64 * 64 * 3}
    assert len(set(pictures.raw)) == len(set(pictures.jpeg)) == 128
    assert all(file.startswith(b"\xff\xd8\xff") for file in pictures.jpeg)
    written = (tmp_path / "pictures" / "0.jpg").stat().st_mtime_ns
    write_pictures(tmp_path / "pictures", 64)
    assert (tmp_path / "pictures" / "0.jpg").stat().st_mtime_ns == written
