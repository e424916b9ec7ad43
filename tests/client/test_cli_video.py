"""`nasfeat video`: which frames are taken, how they are scaled and what is written."""

import json
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import click
import numpy as np
import numpy.typing as npt
import pytest

from nasfeat_client import Frame
from nasfeat_client.cli import run
from nasfeat_client.cli.ffmpeg import Source
from nasfeat_client.cli.video import Video
from nasfeat_client.testing import FakeFeatureServer

Nasfeat = Callable[..., tuple[int, str, str]]

FPS, FRAMES = 30, 30
# The display matrices of a track's header (ISO 14496-12): as it is, and to be turned a quarter clockwise.
UPRIGHT = b"".join(value.to_bytes(4) for value in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
TURNED = b"".join(value.to_bytes(4) for value in (0, 1 << 16, 0, (1 << 32) - (1 << 16), 0, 0, 0, 0, 1 << 30))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make one second of film whose left half is white, in two containers."""
    folder = tmp_path_factory.mktemp("films")
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:, :32] = 255
    for name in ("film.mp4", "film.mkv"):
        with av.open(folder / name, "w") as container:
            stream = container.add_stream("mpeg4", rate=FPS)
            stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
            for _ in range(FRAMES):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())
    return folder


def taken(path: Path, fps: Fraction | None = None, max_frames: int | None = None) -> list[Frame]:
    """Take a film's frames at 33x21 pixels."""
    with Video(Source(location=path), fps=fps, max_frames=max_frames) as video:
        return list(video.frames(height=21, width=33))


def pixels_of(frame: Frame) -> npt.NDArray[np.uint8]:
    """Give a frame's array."""
    assert isinstance(frame.image, np.ndarray)
    return frame.image


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
@pytest.mark.parametrize(
    ("fps", "max_frames", "expected"),
    [
        (None, None, list(range(30))),
        (Fraction(30), None, list(range(30))),
        (Fraction(100), 3, [0, 1, 2]),
        (Fraction(10), None, list(range(0, 30, 3))),
        (Fraction(10), 4, [0, 3, 6, 9]),
        (Fraction(1, 2), None, [0]),
    ],
)
def test_the_sampling_rate_chooses_frames(
    films: Path, name: str, fps: Fraction | None, max_frames: int | None, expected: list[int]
) -> None:
    """The first frame of each period is taken, even where the container rounds its timestamps."""
    assert [frame.frame_id for frame in taken(films / name, fps, max_frames)] == expected
    with Video(Source(location=films / name), fps=fps, max_frames=max_frames) as video:
        assert video.expected_frames() in {len(expected), max_frames, None}


def test_frames_are_scaled(films: Path) -> None:
    """They have the size asked for, in RGB, left half still white."""
    pixels = pixels_of(taken(films / "film.mp4")[0])
    assert pixels.shape == (21, 33, 3)
    assert pixels[:, :14].min() > 200
    assert pixels[:, 19:].max() < 50


def test_frames_are_turned_upright(films: Path, tmp_path: Path) -> None:
    """A telephone's note to turn the film is obeyed: turned clockwise, what was left is on top."""
    turned = tmp_path / "turned.mp4"
    content = (films / "film.mp4").read_bytes()
    # The first matrix is the movie's own, the last the track's.
    before, _, after = content.rpartition(UPRIGHT)
    turned.write_bytes(before + TURNED + after)
    pixels = pixels_of(taken(turned)[0])
    assert pixels.shape == (21, 33, 3)
    assert pixels[:8].min() > 200
    assert pixels[13:].max() < 50


def test_what_is_no_video_is_explained(tmp_path: Path) -> None:
    """Text cannot be read, sound has no pictures."""
    text = tmp_path / "text.mp4"
    text.write_text("no film")
    with pytest.raises(click.ClickException, match=r"cannot read .*text\.mp4: Invalid data"):
        taken(text)
    sound = tmp_path / "sound.wav"
    with av.open(sound, "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(click.ClickException, match="has no video stream"):
        taken(sound)


def test_the_command_writes_features_and_times(
    films: Path,
    threaded_server: FakeFeatureServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A row for each frame taken, with its time in the film and its number."""
    output = tmp_path / "features.npz"
    film = str(films / "film.mp4")
    arguments = ["video", film, "--fps", "10", "--json", "-o", str(output), "-t", threaded_server.target]
    monkeypatch.setattr(sys, "argv", ["nasfeat", *arguments])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["succeeded"] == 10
    with np.load(output) as file:
        assert file["features"].shape == (10, 4032)
        assert file["frame_id"].tolist() == list(range(0, 30, 3))
        np.testing.assert_allclose(file["timestamp_s"], np.arange(10) / 10)
        assert file["model"] == "fake"


def test_the_command_writes_the_outputs_asked_for(films: Path, nasfeat: Nasfeat) -> None:
    """Each is an array under its own name, a map with all its dimensions, and the features are not there."""
    arguments = ("--max-frames", "3", "-o", "features.npz", "--outputs", "Cell_0", "--outputs", "Cell_0/mean")
    code, _, err = nasfeat("video", str(films / "film.mp4"), *arguments)
    assert (code, err) == (0, "")
    with np.load("features.npz") as file:
        assert file["Cell_0"].shape == (3, 2, 3, 4)
        np.testing.assert_allclose(file["Cell_0/mean"], file["Cell_0"].mean((1, 2)), rtol=1e-6)
        assert file["timestamp_s"].shape == file["frame_id"].shape == (3,)
        assert "features" not in file
