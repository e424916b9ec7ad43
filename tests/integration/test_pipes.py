"""`nasfeat video` behind the programs that people have: FFmpeg and GStreamer, and sequences of pictures."""

import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from programs import CLIENT, FAKE, RunningServer, server

_FRAMES = 20
# Lossless, so that every way gives the same pixels.
_PICTURE = ("-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10", "-frames:v", str(_FRAMES))


@pytest.fixture
async def running() -> AsyncIterator[RunningServer]:
    """Run a server."""
    async with server(*FAKE) as started:
        yield started


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Make a film with a key frame every five frames."""
    path = tmp_path / "film.mkv"
    _ffmpeg(*_PICTURE, "-c:v", "ffv1", "-g", "5", "-pix_fmt", "bgr0", path)
    return path


def _ffmpeg(*arguments: str | Path) -> None:
    subprocess.run([get_ffmpeg_exe(), *arguments], check=True)


def _through_shell(line: str, running: RunningServer, folder: Path) -> Any:
    """Run a line of shell as a user writes it, with the program's name for `nasfeat`; gives the table."""
    output = folder / "piped.parquet"
    line = line.replace("nasfeat", f"{CLIENT}").replace("ffmpeg", get_ffmpeg_exe())
    line = f"set -o pipefail; {line} --target {running.listening} -o {output}"
    done = subprocess.run(["/bin/bash", "-c", line], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return pq.read_table(output)


def _features(table: Any) -> Any:
    return np.stack(table["features"].to_numpy())


async def test_ffmpeg_s_pipes_give_what_the_file_gives(running: RunningServer, film: Path, tmp_path: Path) -> None:
    """Frame for frame: as raw pixels, whose size has to be told, and in containers that tell it themselves."""
    whole = _through_shell("nasfeat video film.mkv", running, tmp_path)
    assert whole["frame_id"].to_pylist() == list(range(_FRAMES))
    np.testing.assert_allclose(whole["timestamp_s"], np.arange(_FRAMES) / 10, atol=1e-3)
    # Scaled to the size of this network, neighbours can be equal.
    assert len(np.unique(_features(whole), axis=0)) > _FRAMES / 2
    raw = "--input-format rawvideo " + " ".join(
        f"--input-option {option}" for option in ("video_size=64x48", "pixel_format=rgb24", "framerate=10")
    )
    for pipe in (
        f"ffmpeg -loglevel error -i film.mkv -pix_fmt rgb24 -f rawvideo - | nasfeat video - {raw}",
        "ffmpeg -loglevel error -i film.mkv -c copy -f nut - | nasfeat video -",
        "ffmpeg -loglevel error -i film.mkv -c copy -f matroska - | nasfeat video -",
    ):
        table = _through_shell(pipe, running, tmp_path)
        assert table["frame_id"].to_pylist() == list(range(_FRAMES))
        np.testing.assert_allclose(table["timestamp_s"], np.arange(_FRAMES) / 10, atol=1e-3)
        np.testing.assert_array_equal(_features(table), _features(whole))


@pytest.mark.skipif(not shutil.which("gst-launch-1.0"), reason="GStreamer is not installed")
async def test_gstreamer_s_pipe(running: RunningServer, tmp_path: Path) -> None:
    """Its frames arrive, all of them and in time."""
    made = "videotestsrc num-buffers=20 pattern=ball ! video/x-raw,width=64,height=48,framerate=10/1"
    pipe = f"gst-launch-1.0 -q {made} ! videoconvert ! jpegenc ! matroskamux ! fdsink | nasfeat video -"
    table = _through_shell(pipe, running, tmp_path)
    assert table["frame_id"].to_pylist() == list(range(_FRAMES))
    np.testing.assert_allclose(table["timestamp_s"], np.arange(_FRAMES) / 10, atol=2e-3)
    assert len(np.unique(_features(table), axis=0)) > _FRAMES / 2


async def test_sequences_of_pictures_are_videos(running: RunningServer, film: Path, tmp_path: Path) -> None:
    """By number or by pattern, with the frame rate that the user tells."""
    whole = _through_shell("nasfeat video film.mkv", running, tmp_path)
    (tmp_path / "frames").mkdir()
    _ffmpeg("-loglevel", "error", "-i", film, tmp_path / "frames/%05d.png")
    for source in ("'frames/%05d.png'", "'frames/*.png'"):
        table = _through_shell(f"nasfeat video {source} --input-option framerate=10", running, tmp_path)
        np.testing.assert_allclose(table["timestamp_s"], np.arange(_FRAMES) / 10)
        np.testing.assert_array_equal(_features(table), _features(whole))


async def test_key_frames_may_be_all_that_is_wanted(running: RunningServer, film: Path, tmp_path: Path) -> None:
    """Every fifth frame of this film, at its own time."""
    lossy = tmp_path / "lossy.mkv"
    _ffmpeg(*_PICTURE, "-c:v", "mpeg4", "-g", "5", "-bf", "0", lossy)
    whole = _through_shell("nasfeat video lossy.mkv", running, tmp_path)
    table = _through_shell("nasfeat video lossy.mkv --key-frames", running, tmp_path)
    assert table["frame_id"].to_pylist() == [0, 1, 2, 3]
    np.testing.assert_allclose(table["timestamp_s"], [0, 0.5, 1, 1.5], atol=1e-3)
    np.testing.assert_array_equal(_features(table), _features(whole)[::5])


@pytest.mark.parametrize("options", ["", "--input-format rawvideo"])
async def test_stdin_without_a_video_is_explained(running: RunningServer, tmp_path: Path, options: str) -> None:
    """As are raw pixels without a size."""
    with pytest.raises(AssertionError, match="Error: cannot read stdin: "):
        _through_shell(f"echo no video | nasfeat video - {options}", running, tmp_path)
