"""The network in training: batch statistics, moving averages, the auxiliary head, and the paths left out."""

import dataclasses
import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

from nasfeat_server.network import layers
from nasfeat_server.network.spec import VARIANTS, NetworkSpec
from nasfeat_server.network.walk import walk

if TYPE_CHECKING:
    from tests.network.conftest import Reader, Reference

_SHADOW = "/ExponentialMovingAverage"
_MOVED = "after_update/"
_MOVEMENT_TOLERANCE = 4e-3
"""A step of 3e-4 of a float32 is known to 1e-3; the biased variance of the smallest maps moves by 5e-3 less."""


def differ(value: Any, expected: npt.NDArray[Any]) -> float:
    """Give the relative L2 distance."""
    return float(np.linalg.norm(np.asarray(value) - expected) / np.linalg.norm(expected))


def train_mode(tiny: "Reference", read: "Reader") -> tuple[dict[str, float], dict[str, float]]:
    """Run one step in training, and compare with the original: outputs and new averages; and how averages moved."""
    from nasfeat_server.network.model import assign, build_model, variables_of

    model = build_model(tiny.spec, training=True)
    saved = read(tiny.folder / ("train_model.ckpt" if has_auxiliary(tiny) else "model.ckpt"))
    fresh = {name: variable.numpy() for name, variable in variables_of(model).items()}
    before = {name: saved.get(name + _SHADOW, saved.get(name, value)) for name, value in fresh.items()}
    assign(model, before)
    with np.load(tiny.folder / "reference_train_mode.npz") as archive:
        expected = dict(archive)
    outputs = model(tiny.arrays()["images"], training=True)
    after = {name: variable.numpy() for name, variable in variables_of(model).items()}
    values = {name: differ(outputs[name], expected[name]) for name in ("global_pool", "AuxLogits")}
    moved = {}
    for key, value in expected.items():
        if key.startswith(_MOVED):
            name = key.removeprefix(_MOVED)
            values[name] = differ(after[name], value)
            moved[name] = differ(after[name] - before[name], value - before[name])
    return values, moved


def has_auxiliary(tiny: "Reference") -> bool:
    """Say whether the weights of the auxiliary head are recorded."""
    return (tiny.folder / "train_model.ckpt.index").exists()


def test_training_is_the_originals(tiny: "Reference", read_variables: "Reader") -> None:
    """Features, auxiliary logits, and moving averages after one update agree with the original to 1e-4.

    So does, as far as float32 tells, how far the averages moved, which their values hardly show.
    """
    values, moved = train_mode(tiny, read_variables)
    if not has_auxiliary(tiny):
        del values["AuxLogits"]
    assert len(moved) >= 4
    assert {name: error for name, error in values.items() if not error < 1e-4} == {}
    assert {name: error for name, error in moved.items() if not error < _MOVEMENT_TOLERANCE} == {}


def test_a_biased_variance_would_be_seen(
    tiny: "Reference", read_variables: "Reader", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras' own batch normalisation, which feeds the average the biased variance, fails the test above."""
    import keras

    monkeypatch.setattr("nasfeat_server.network.model.BatchNormalization", keras.layers.BatchNormalization)
    values, moved = train_mode(tiny, read_variables)
    assert values["global_pool"] < 1e-4
    assert max(moved.values()) > _MOVEMENT_TOLERANCE


def test_the_variables_of_training(tiny: "Reference") -> None:
    """A model in training has the original's variables and those of its auxiliary head, no others."""
    from nasfeat_server.network.model import build_model, variables_of

    rows = (line.split("\t") for line in (tiny.folder / "train_only_variables.txt").read_text().splitlines())
    extra = {row[0]: tuple(json.loads(row[1])) for row in rows if row[0] != "global_step"}
    variables = variables_of(build_model(tiny.spec, training=True))
    assert {name: tuple(variable.shape) for name, variable in variables.items()} == {**tiny.variables, **extra}


class _Branches(layers._Recorder):
    """Counts the branches of each cell that may be left out."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def drop_path(self, x: Any, cell: str) -> Any:
        self.counts[cell] += 1
        return x


def test_how_often_each_cell_s_branches_are_kept(tiny_mobile: "Reference") -> None:
    """In the published module's training graph, every cell of Large drops its branches as here; identities stay."""
    spec = VARIANTS["large"]
    path = tiny_mobile.folder.parent / "nasnet_large" / "train_tag_keep_probs.txt"
    rows = re.findall(r"(\w+) +n=(\d+) keep=\[([\d.]+)\]", path.read_text())
    branches = _Branches()
    walk(spec, branches, layers._input(spec))
    assert [row[0] for row in rows] == list(spec.cells)
    assert {cell: int(count) for cell, count, _ in rows} == branches.counts
    for cell, _, keep in rows:
        assert spec.keep_probability(cell) == pytest.approx(float(keep), abs=1e-6)


def dropping(spec: NetworkSpec, *, training: bool = True) -> list[Any]:
    """Give the layers of the model that leave out paths."""
    import keras

    from nasfeat_server.network.model import build_model

    return [layer for layer in build_model(spec, training=training).layers if isinstance(layer, keras.layers.Dropout)]


def test_the_model_drops_as_its_spec_says(tiny_cifar: "Reference") -> None:
    """Each branch has its own layer, at its cell's probability, whether or not the others have the same."""
    branches = _Branches()
    walk(tiny_cifar.spec, branches, layers._input(tiny_cifar.spec))
    spec = dataclasses.replace(tiny_cifar.spec, drop_path_keep_prob=0.7)
    expected = {round(1 - spec.keep_probability(cell), 6): count for cell, count in branches.counts.items()}
    assert Counter(round(layer.rate, 6) for layer in dropping(spec)) == expected


def test_mobile_drops_nothing(tiny_mobile: "Reference") -> None:
    """With a keep probability of 1, as Mobile's, there is no such layer; nor is there one outside of training."""
    assert VARIANTS["mobile"].drop_path_keep_prob == 1
    assert dropping(tiny_mobile.spec) == []
    assert dropping(dataclasses.replace(tiny_mobile.spec, drop_path_keep_prob=0.7), training=False) == []


def test_a_branch_is_left_out_as_a_whole(tiny_cifar: "Reference") -> None:
    """One draw for each image and branch; what is kept is scaled by 1 / keep; the share kept never changes."""
    import keras

    keras.utils.set_random_seed(0)
    first, second, *_ = dropping(dataclasses.replace(tiny_cifar.spec, drop_path_keep_prob=0.5))
    keep = 1 - first.rate
    ones = np.ones((4000, 2, 3, 4), np.float32)
    drawn = []
    for _ in range(20):
        for layer in (first, second):
            images = layer(ones, training=True).numpy().reshape(len(ones), -1)
            assert (images == images[:, :1]).all()
            drawn.append(images[:, 0])
    assert not (drawn[0] == drawn[1]).all()
    for kept in drawn:
        assert set(np.unique(kept)) == {0, np.float32(1 / keep)}
        assert np.mean(kept > 0) == pytest.approx(keep, abs=0.03)
    assert np.mean(drawn[-2:]) == pytest.approx(np.mean(drawn[:2]), abs=0.05)


def test_inference_drops_nothing(tiny_cifar: "Reference") -> None:
    """The model made for training computes the original's features when it is not training."""
    from nasfeat_server.network.model import build_model, variables_of
    from nasfeat_server.network.weights import load_weights

    spec = dataclasses.replace(tiny_cifar.spec, drop_path_keep_prob=0.5)
    model = build_model(spec, training=True)
    weights = load_weights(tiny_cifar.checkpoint, tiny_cifar.spec)
    for name, variable in variables_of(model).items():
        if name in weights.variables:
            variable.assign(weights.variables[name])
    expected = tiny_cifar.arrays()
    assert differ(model(expected["images"], training=False)["global_pool"], expected["global_pool"]) < 1e-4
    assert differ(model(expected["images"], training=True)["global_pool"], expected["global_pool"]) > 1e-2
