"""What the commands that send pictures do."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nasfeat_client.cli.output import NpzFile, npz_file
from nasfeat_client.cli.progress import shown_progress
from nasfeat_client.cli.report import print_classes, print_summary
from nasfeat_client.cli.session import Session, described_model
from nasfeat_client.cli.tally import Tally, tally
from nasfeat_client.result import Array, Classification, Result
from nasfeat_client.types import ModelInfo, StreamOptions

if TYPE_CHECKING:
    from nasfeat_client.cli.live import LiveVideo
    from nasfeat_client.cli.video import Video


def extract(session: Session, photos: tuple[str, ...], output: Path, outputs: tuple[str, ...]) -> int:
    """Extract `outputs`, or the features, of `photos` into `output`.

    Returns:
        The exit code.
    """
    with npz_file(output) as file, session.client() as client:
        model = described_model(client)
        with shown_progress(len(photos), quiet=session.as_json) as progress:
            results = zip(client.extract_many(photos, outputs=outputs), photos, strict=True)
            gathered = tally(results, progress, lambda result: file.add_row(_row(result, outputs)))
        names = np.array([photos[index] for index in gathered.frame_ids])
        return _finish(session, gathered, model, file, {"names": names})


def video(session: Session, source: "Video | LiveVideo", output: Path, outputs: tuple[str, ...]) -> int:
    """Extract `outputs`, or the features, of the frames of `source` into `output`; Ctrl-C ends a live one.

    Returns:
        The exit code.
    """
    with npz_file(output) as file, source, session.client() as client:
        model = described_model(client)
        frames = source.frames(height=model.image_height, width=model.image_width)
        with shown_progress(source.expected_frames(), quiet=session.as_json) as progress:
            streamed = client.stream(frames, StreamOptions(outputs=outputs, overload_policy=source.overload_policy))
            results = ((result, f"frame {result.frame_id}") for result in streamed)
            with _ended_by_ctrl_c(source):
                gathered = tally(results, progress, lambda result: file.add_row(_row(result, outputs)))
        numbers = gathered.frame_ids
        arrays = {name: np.array([times[number] for number in numbers]) for name, times in source.times().items()}
        arrays["frame_ids"] = np.array(numbers, np.int64)
        return _finish(session, gathered, model, file, arrays)


@contextmanager
def _ended_by_ctrl_c(source: "Video | LiveVideo") -> Iterator[None]:
    """Let the first Ctrl-C end a live source, so that what is in flight is answered and written."""
    end = source.stop
    if not end:
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def on_signal(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        end()

    signal.signal(signal.SIGINT, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def classify(session: Session, photos: tuple[str, ...], top_k: int) -> int:
    """Print the most probable classes of `photos`.

    Returns:
        The exit code.
    """
    classes: list[tuple[Classification, ...]] = []
    with session.client() as client:
        model = described_model(client)
        with shown_progress(len(photos), quiet=session.as_json) as progress:
            results = zip(client.extract_many(photos, top_k=top_k), photos, strict=True)
            gathered = tally(results, progress, lambda result: classes.append(result.classes))
    names = [photos[index] for index in gathered.frame_ids]
    print_classes(gathered, model.identity, list(zip(names, classes, strict=True)), as_json=session.as_json)
    return int(gathered.failed)


def _row(result: Result, outputs: tuple[str, ...]) -> Mapping[str, Array]:
    """Give what one image adds to each array of the file."""
    return result.outputs if outputs else {"features": result.vector}


def _finish(
    session: Session, gathered: Tally, model: ModelInfo, file: NpzFile, arrays: Mapping[str, npt.NDArray[Any]]
) -> int:
    """Write what there is, and say so."""
    if gathered.frame_ids:
        file.save(arrays, model.identity)
    print_summary(gathered, model.identity, file.path if gathered.frame_ids else None, as_json=session.as_json)
    return int(gathered.failed)
