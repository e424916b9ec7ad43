"""The parts of the demo that need no network: video, likeness, tables and the child server."""

import io
import signal
from pathlib import Path

import numpy as np
import pytest
from examples.demo import report, similarity
from examples.demo.features import STAGES, Extraction, ModelFacts
from examples.demo.pictures import Photograph, photographs
from examples.demo.server import ServerExitedError, _reason, started
from examples.demo.video import HEIGHT, WIDTH, make_video, read_frames
from PIL import Image
from rich.console import Console
from rich.table import Table

FAKE = ("--variant", "cifar", "--weights", "random:0", "--engine", "fake", "--log-level", "warning")


def extraction(vectors: np.ndarray, errors: dict[int, str] | None = None) -> Extraction:
    """Pretend that `vectors` came back, each stage having taken a millisecond."""
    return Extraction(
        vectors=vectors.astype(np.float32),
        stages_s=np.full((len(vectors), len(STAGES)), 0.001),
        errors=errors or {},
        wall_s=2.0,
    )


def text_of(table: Table) -> str:
    """Print a table."""
    output = io.StringIO()
    Console(file=output, width=160).print(table)
    return output.getvalue()


def test_scikit_image_brings_the_photographs() -> None:
    """They are files in the installed package, in colour, and named for what they show."""
    pictures = photographs()
    assert len(pictures) >= 6
    assert len({picture.name for picture in pictures}) == len(pictures)
    for picture in pictures:
        with Image.open(picture.path) as image:
            assert image.mode == "RGB"


def test_the_video_shows_each_photograph_in_turn(tmp_path: Path) -> None:
    """Red frames come before blue ones, as many of each as asked, of the announced size."""
    pictures = []
    for colour in ("red", "blue"):
        path = tmp_path / f"{colour}.png"
        Image.new("RGB", (640, 400), colour).save(path)
        pictures.append(Photograph(name=colour, path=path))
    make_video(pictures, tmp_path / "video.mp4", frames_each=5)
    frames = list(read_frames(tmp_path / "video.mp4"))
    assert [frame.shape for frame in frames] == [(HEIGHT, WIDTH, 3)] * 10
    assert [int(frame.mean(axis=(0, 1)).argmax()) for frame in frames] == [0] * 5 + [2] * 5


def test_cosines_are_taken_off_the_mean() -> None:
    """Vectors that nearly coincide because of what they share are told apart by what they do not."""
    shared = np.full(8, 100.0)
    vectors = np.stack([shared + 3 * np.eye(8)[0], shared + 2 * np.eye(8)[0], shared + np.eye(8)[1]])
    cosines = similarity.centred_cosines(vectors.astype(np.float32))
    np.testing.assert_allclose(np.diag(cosines), 1, atol=1e-6)
    assert cosines[0, 2] < 0
    best, closeness = similarity.nearest_other(cosines)
    assert best.tolist()[0] == 1
    assert closeness[0] == cosines[0, 1]


def test_the_same_vector_everywhere_is_like_nothing() -> None:
    """No division by zero where nothing is special."""
    assert similarity.centred_cosines(np.ones((3, 4), np.float32)).tolist() == np.zeros((3, 3)).tolist()


def test_the_matrix_is_drawn(tmp_path: Path) -> None:
    """The PNG exists and is a picture of some size."""
    path = tmp_path / "similarity.png"
    similarity.draw(np.eye(4), ["one", "two"], [0, 0, 0, 1], path, "title")
    with Image.open(path) as image:
        assert image.width > 500


def test_the_tables_say_what_happened() -> None:
    """Counts, speeds, stages, neighbours and votes are all in them."""
    model = ModelFacts(name="nasnet_large", weights_source="random:0", trained=False, feature_length=4)
    stills, video = extraction(np.eye(4)[:2]), extraction(np.eye(4), {1: "broken"})
    summary = text_of(report.summary_table(model, stills, video))
    assert "weights random:0 (UNTRAINED)" in summary
    assert "2 of 2 answered, 2.0 s, 1.00 a second" in summary
    assert "3 of 4 answered, 2.0 s, 2.00 a second" in summary
    stages = text_of(report.stage_table(video))
    assert all(stage in stages for stage in STAGES)
    assert "1.0 ms" in stages
    frames = np.array([[0.9, 0.1], [0.2, 0.7], [0.1, 0.5]])
    likeness = text_of(report.likeness_table(["cat", "cup"], np.array([[1, 0.25], [0.25, 1]]), frames, [0, 0, 1]))
    assert "cat (1 of 2)" in likeness
    assert "cup (1 of 1)" in likeness
    assert "0.25" in likeness


def test_a_server_is_started_told_ready_and_stopped(tmp_path: Path) -> None:
    """A real server with an engine that computes nothing becomes ready, and ends well when told to."""
    with started(FAKE, tmp_path / "log") as server:
        server.wait_ready(lambda line: None)
        assert server.stop() == 0


def test_a_failure_takes_the_server_along(tmp_path: Path) -> None:
    """Whatever leaves the block, the child is gone."""
    with pytest.raises(KeyboardInterrupt), started(FAKE, tmp_path / "log") as server:
        raise KeyboardInterrupt
    assert server.process.returncode in {0, -signal.SIGTERM}


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The exit code and the server's own words reach the caller at once."""
    wrong = (*FAKE[:4], "--engine", "fake", "--max-batch", "3")
    with started(wrong, tmp_path / "log") as server, pytest.raises(ServerExitedError, match="power of two") as caught:
        server.wait_ready(lambda line: None)
    assert caught.value.code == 2


def test_a_reason_of_several_lines_is_told_whole(tmp_path: Path) -> None:
    """The server's last error may be a list; what it logged before is left out."""
    log = tmp_path / "server.log"
    log.write_text("INFO starting\nError: an older one\nError: the weights cannot be had:\n  no network\n  no cache\n")
    assert _reason(log) == "the weights cannot be had:\n  no network\n  no cache"
