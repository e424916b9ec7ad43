"""What the demo found, as tables for a terminal."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from examples.demo.features import STAGES, Extraction, ModelFacts
from examples.demo.similarity import Matrix, nearest, nearest_other
from rich.panel import Panel
from rich.table import Table


def untrained_note(reason: str) -> Panel:
    """Say loudly that the features mean nothing."""
    text = "The weights are random: times and sizes below are real, likenesses mean nothing."
    return Panel(f"{text}\n{reason}" if reason else text, title="UNTRAINED NETWORK", style="bold yellow", expand=False)


def summary_table(model: ModelFacts, photographs: Extraction, video: Extraction) -> Table:
    """Counts, throughput and the model."""
    table = Table(title="What came back", show_header=False)
    trained = "trained" if model.trained else "UNTRAINED"
    table.add_row("model", f"{model.name}, weights {model.weights_source} ({trained})")
    table.add_row("feature length", str(model.feature_length))
    for name, part in (("photographs, as files", photographs), ("video frames, as pixels", video)):
        count = len(part.vectors)
        speed = f"{count / part.wall_s:.2f} a second" if part.wall_s else "-"
        table.add_row(name, f"{count - len(part.errors)} of {count} answered, {part.wall_s:.1f} s, {speed}")
    return table


def stage_table(video: Extraction) -> Table:
    """Where the time of a video frame goes inside the server."""
    table = Table("stage", title="Inside the server, a video frame")
    for heading in ("mean", "median", "95 of 100 under"):
        table.add_column(heading, justify="right")
    for stage, seconds in zip(STAGES, video.stages_s.T, strict=True):
        numbers = (seconds.mean(), np.median(seconds), np.quantile(seconds, 0.95)) if seconds.size else (0.0,) * 3
        table.add_row(stage, *(f"{1000 * number:.1f} ms" for number in numbers))
    return table


def likeness_table(names: Sequence[str], photographs: Matrix, frames: Matrix, owners: Sequence[int]) -> Table:
    """Which photograph is nearest to each photograph, and to the frames that were made from it.

    Args:
        names: of the photographs.
        photographs: cosines [photographs, photographs].
        frames: cosines [frames, photographs].
        owners: the photograph that each frame was made from.
    """
    table = Table("photograph", "most like", title="Likeness", caption="Cosines, off the mean of all vectors")
    table.add_column("cosine", justify="right")
    table.add_column("its video frames are nearest to")
    table.add_column("mean cosine", justify="right")
    others, closeness = nearest_other(photographs)
    winners, strengths = nearest(frames)
    made_from = np.asarray(owners)
    for index, name in enumerate(names):
        mine = made_from == index
        told = _votes(names, winners[mine])
        strength = f"{strengths[mine].mean():.2f}" if mine.any() else "-"
        table.add_row(name, names[int(others[index])], f"{closeness[index]:.2f}", told, strength)
    return table


def _votes(names: Sequence[str], winners: npt.NDArray[np.intp]) -> str:
    """Say "chelsea (8 of 9)", or "-" where no frame was answered."""
    if not winners.size:
        return "-"
    votes = np.bincount(winners)
    return f"{names[int(votes.argmax())]} ({votes.max()} of {winners.size})"
