"""`nasfeat video` on a live source: MPEG-TS over UDP, sent at 25 frames a second by the real FFmpeg."""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from programs import CLIENT, FAKE, server

_FPS = 25


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextlib.contextmanager
def _camera(port: int) -> Iterator[None]:
    """Have FFmpeg send a picture that changes with every frame until the block ends."""
    source = ("-re", "-f", "lavfi", "-i", f"testsrc2=size=64x48:rate={_FPS}")
    # A watcher that comes later needs a key frame soon.
    how = ("-c:v", "mpeg2video", "-g", "5", "-f", "mpegts", f"udp://127.0.0.1:{port}?pkt_size=1316")
    with subprocess.Popen([get_ffmpeg_exe(), "-loglevel", "error", *source, *how]) as sender:
        try:
            yield
        finally:
            sender.terminate()


class _Watcher:
    """The command on a port, with a server that takes a tenth of a second for each frame."""

    def __init__(self, target: str, port: int, output: Path, *options: str) -> None:
        url = f"udp://127.0.0.1:{port}"
        self._command = (str(CLIENT), "video", url, "-t", target, "--json", "-o", str(output), *options)
        self._output = output
        self.process: asyncio.subprocess.Process

    async def start(self) -> None:
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(*self._command, stdout=pipe, stderr=pipe)

    async def end(self) -> tuple[int | None, dict[str, Any], dict[str, Any], str]:
        """Wait for its end; gives the exit code, what it printed, what it wrote and what it complained of."""
        out, err = await self.process.communicate()
        with np.load(self._output) as file:
            written = {name: file[name] for name in file.files}
        return self.process.returncode, json.loads(out), written, err.decode()


# Neighbouring pictures can be equal once they are encoded.
_SLOW = (*FAKE, "--weights", "sleep:0.1", "--max-batch", "1", "--no-single-flight")


async def test_results_stay_fresh_while_the_server_is_slow(tmp_path: Path) -> None:
    """25 frames a second come, 10 can be computed: those that are too many are given up, and no result grows old."""
    port = _free_port()
    async with server(*_SLOW) as running:
        with _camera(port):
            watcher = _Watcher(running.listening, port, tmp_path / "live.npz", "--seconds", "4")
            await watcher.start()
            code, summary, written, err = await watcher.end()
    assert (code, summary["failed"], summary["stopped_by"]) == (0, 0, None), err
    assert 10 < summary["succeeded"] < 60
    assert summary["dropped"] > 10
    # Two batches of a tenth of a second, and a second for a machine that is busy.
    assert summary["ages_s"]["p90"] < 1.2
    assert len(written["features"]) == len(written["frame_id"]) == summary["succeeded"]
    assert (np.diff(written["frame_id"]) > 0).all()
    assert (np.diff(written["captured_at"]) > 0).all()
    # Of the two and a half frames that come for each that is computed, none is left to grow old in a queue.
    assert np.diff(written["captured_at"]).max() < 2


@pytest.mark.slow
async def test_a_source_that_restarts_is_found_again(tmp_path: Path) -> None:
    """The camera is gone for a while and comes back: the run goes on, until Ctrl-C ends it with all that it has."""
    port = _free_port()
    async with server(*_SLOW) as running:
        watcher = _Watcher(running.listening, port, tmp_path / "live.npz")
        with _camera(port):
            await watcher.start()
            await asyncio.sleep(4)
        # Longer than a read may take, so that the loss is noticed.
        gone_at = time.time()
        await asyncio.sleep(7)
        back_at = time.time()
        with _camera(port):
            await asyncio.sleep(4)
            watcher.process.send_signal(signal.SIGINT)
            code, summary, written, err = await watcher.end()
    assert (code, summary["failed"], summary["stopped_by"]) == (0, 0, None), err
    assert "was lost" in err
    captured_at = written["captured_at"]
    assert (captured_at < gone_at).sum() > 5
    assert (captured_at > back_at).sum() > 5
    assert (np.diff(written["frame_id"]) > 0).all()


@pytest.mark.slow
async def test_a_source_that_stays_away_is_an_error_and_nothing_is_lost(tmp_path: Path) -> None:
    """The camera is gone for good: after the time to wait for it the command says so, and writes what it has."""
    port = _free_port()
    async with server(*_SLOW) as running:
        watcher = _Watcher(running.listening, port, tmp_path / "live.npz", "--reconnect", "1")
        with _camera(port):
            await watcher.start()
            await asyncio.sleep(4)
        code, summary, written, _ = await watcher.end()
    assert code == 1
    assert "was lost and not back within 1 s" in summary["stopped_by"]
    assert len(written["features"]) == summary["succeeded"] > 5


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("missing.mp4",), "there is no file or device missing.mp4"),
        (("http://127.0.0.1:9/a.mp4",), "cannot read http://127.0.0.1:9/a.mp4: Connection refused"),
        (("http://127.0.0.1:9/a.mp4", "--seconds", "1"), "--seconds is for live sources"),
    ],
)
async def test_what_cannot_be_watched_is_explained(tmp_path: Path, arguments: tuple[str, ...], complaint: str) -> None:
    """Before anything is streamed."""
    async with server(*FAKE) as running:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            CLIENT, "video", *arguments, "-t", running.listening, cwd=tmp_path, stdout=pipe, stderr=pipe
        )
        _, err = await process.communicate()
    assert process.returncode
    assert complaint in err.decode()
