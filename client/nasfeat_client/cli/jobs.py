"""What the commands that write a file do."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nasfeat_client.cli.output import NpzFile, npz_file
from nasfeat_client.cli.progress import shown_progress
from nasfeat_client.cli.report import print_summary
from nasfeat_client.cli.session import Session, described_model
from nasfeat_client.cli.tally import Tally, tally
from nasfeat_client.types import ModelInfo

if TYPE_CHECKING:
    from nasfeat_client.cli.video import Video


def extract(session: Session, photos: tuple[str, ...], output: Path) -> int:
    """Extract the features of `photos` into `output`.

    Returns:
        The exit code.
    """
    with npz_file(output) as file, session.client() as client:
        model = described_model(client)
        with shown_progress(len(photos), quiet=session.as_json) as progress:
            gathered = tally(zip(client.extract_many(photos), photos, strict=True), progress)
        names = np.array([photos[index] for index in gathered.frame_ids])
        return _finish(session, gathered, model, file, {"names": names})


def video(session: Session, source: "Video", output: Path) -> int:
    """Extract the features of the frames of `source` into `output`.

    Returns:
        The exit code.
    """
    with npz_file(output) as file, source, session.client() as client:
        model = described_model(client)
        frames = source.frames(height=model.image_height, width=model.image_width)
        with shown_progress(source.expected_frames(), quiet=session.as_json) as progress:
            results = ((result, f"frame {result.frame_id}") for result in client.stream(frames))
            gathered = tally(results, progress)
        timestamps_s = np.array([source.timestamps_s[index] for index in gathered.frame_ids], np.float64)
        arrays = {"timestamps_s": timestamps_s, "frame_ids": np.array(gathered.frame_ids, np.int64)}
        return _finish(session, gathered, model, file, arrays)


def _finish(
    session: Session, gathered: Tally, model: ModelInfo, file: NpzFile, arrays: Mapping[str, npt.NDArray[Any]]
) -> int:
    """Write what there is, and say so."""
    if gathered.vectors:
        file.save({"features": np.stack(gathered.vectors), **arrays}, model.identity)
    print_summary(gathered, model.identity, file.path if gathered.vectors else None, as_json=session.as_json)
    return int(gathered.failed)
