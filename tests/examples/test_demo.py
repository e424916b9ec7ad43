"""The whole demo, with an engine that computes nothing."""

from pathlib import Path

import numpy as np
import pytest
from examples.demo.__main__ import main


def test_the_demo_runs_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A server is started, a video made and streamed, the results told and written, the server ended."""
    fake = ["--variant", "cifar", "--engine", "fake", "--weights", "random:0"]
    assert main([*fake, "--frames", "2", "--output", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    for part in ("Ready on", "What came back", "Likeness", "UNTRAINED NETWORK", "exit code 0"):
        assert part in said
    assert {path.name for path in tmp_path.iterdir()} == {"features.npz", "similarity.png", "video.mp4", "server.log"}
    with np.load(tmp_path / "features.npz") as saved:
        assert saved["frames"].shape == (2 * len(saved["names"]), saved["photographs"].shape[1])


def test_without_the_published_weights_the_demo_goes_on_with_random_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cifar variant has no published weights: the demo says so, and that likenesses then mean nothing."""
    assert main(["--variant", "cifar", "--engine", "fake", "--frames", "1", "--output", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "starting again with random ones" in said
    assert "UNTRAINED NETWORK" in said
