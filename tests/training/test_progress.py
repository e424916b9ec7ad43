"""What is shown and written while it trains."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console


def shown(console: Console) -> None:
    """Go on with an epoch's last two of three steps, and end it."""
    from nasfeat_server.network.training.progress import Shown, progress_bar

    with progress_bar(console) as bar:
        callback = Shown(bar, epochs=2, steps_per_epoch=3, batch_size=8, step=1)
        for step in (1, 2):
            callback.on_train_batch_end(step, {"loss": 1 / step, "accuracy": 0.25})
        callback.on_epoch_end(0, {"loss": 0.5, "accuracy": 0.25, "val_loss": 0.75, "val_accuracy": 1.0})


def test_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch is a line, and a long one has a line a minute."""
    from nasfeat_server.network.training import progress

    said = io.StringIO()
    shown(Console(file=said))
    epoch = "epoch 1/2: loss 0.5000, accuracy 25.0%; validation: loss 0.7500, accuracy 100.0%"
    assert said.getvalue().splitlines() == [epoch]
    monkeypatch.setattr(progress, "_LINE_EVERY_S", -1)
    shown(Console(file=said))
    _, first, second, last = said.getvalue().splitlines()
    assert first.startswith("step 2/6: loss 1.0000, accuracy 25.0%, ")
    assert second.startswith("step 3/6: loss 0.5000, accuracy 25.0%, ")
    assert "images/s" in second
    assert last == epoch


def test_a_bar_on_a_terminal() -> None:
    """It shows epoch, steps of all epochs, loss, accuracy and speed; an epoch's line stays above it."""
    said = io.StringIO()
    shown(Console(file=said, force_terminal=True, width=120, color_system=None))
    for part in ("epoch 1/2 ", " 3/6 ", "loss 0.5000", "accuracy 25.0%", "images/s", "epoch 1/2: loss 0.5000"):
        assert part in said.getvalue()


def test_scalars_are_written_by_step(tmp_path: Path) -> None:
    """Loss, accuracy and rate every tenth step and at an epoch's end; the validation's under the same names."""
    import tensorflow as tf
    from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
        EventAccumulator,
    )

    from nasfeat_server.network.training.scalars import Scalars

    callback = Scalars(tmp_path, 15)
    callback.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=0.125)))
    callback.on_train_begin()
    for step in range(7):
        callback.on_train_batch_end(step, {"loss": float(step), "logits_accuracy": 0.5})
    callback.on_epoch_end(0, {"loss": 9.0, "logits_accuracy": 0.5, "val_logits_loss": 2.0, "val_logits_accuracy": 1.0})
    callback.on_train_end()

    def read(name: str) -> dict[str, list[tuple[int, Any]]]:
        events = EventAccumulator(str(tmp_path / name)).Reload()
        return {
            tag: [(event.step, float(tf.make_ndarray(event.tensor_proto))) for event in events.Tensors(tag)]
            for tag in events.Tags()["tensors"]
        }

    half, rate = [(20, 0.5), (22, 0.5)], [(20, 0.125), (22, 0.125)]
    assert read("train") == {"loss": [(20, 4.0), (22, 9.0)], "accuracy": half, "learning_rate": rate}
    assert read("validation") == {"loss": [(22, 2.0)], "accuracy": [(22, 1.0)]}
