"""Checkpoints are read strictly, and where they come from is said clearly when it fails."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nasfeat_server.errors import WeightsError
from nasfeat_server.network.weights import digest, load_weights

if TYPE_CHECKING:
    from tests.network.conftest import Reader, Reference, Writer


def test_reads_what_inference_needs(tiny: "Reference") -> None:
    """The arrays are the checkpoint's, sorted by name, and the result says where they are from."""
    weights = load_weights(tiny.checkpoint, tiny.spec)
    assert list(weights.variables) == sorted(tiny.variables)
    assert (weights.source, weights.trained) == (tiny.checkpoint, True)
    assert weights.digest == digest(weights.variables)


def test_averages_are_preferred(tiny_trained: "Reference") -> None:
    """Of a training checkpoint the moving averages are read, and the auxiliary head is not."""
    averaged = load_weights(str(tiny_trained.folder / "train_model.ckpt"), tiny_trained.spec)
    assert averaged.digest == load_weights(tiny_trained.checkpoint, tiny_trained.spec).digest


def test_a_missing_average_is_no_reason_to_take_the_plain_value(
    tiny_mobile: "Reference", read_variables: "Reader", write_checkpoint: "Writer"
) -> None:
    """Where other variables have averages, one without is an error, unless it is a moving statistic."""
    variables = read_variables(tiny_mobile.folder / "train_model.ckpt")
    del variables["conv0_bn/moving_mean/ExponentialMovingAverage"]
    load_weights(str(write_checkpoint(variables)), tiny_mobile.spec)
    del variables["conv0/weights/ExponentialMovingAverage"]
    with pytest.raises(WeightsError, match="missing: conv0/weights/ExponentialMovingAverage"):
        load_weights(str(write_checkpoint(variables)), tiny_mobile.spec)


def test_optimizer_slots_are_passed_over(
    tiny_cifar: "Reference", read_variables: "Reader", write_checkpoint: "Writer"
) -> None:
    """What an optimizer keeps beside a variable changes nothing."""
    variables = read_variables(tiny_cifar.checkpoint)
    slots = {"l1_stem_3x3/weights/Momentum": np.zeros(3), "beta1_power": np.float32(1), "global_step": np.int64(7)}
    prefix = write_checkpoint(variables | slots)
    assert load_weights(str(prefix), tiny_cifar.spec).digest == digest(variables)


def test_every_difference_is_named(
    tiny_cifar: "Reference", read_variables: "Reader", write_checkpoint: "Writer"
) -> None:
    """One error lists what is missing, what nobody asked for, and what has the wrong shape or type."""
    variables = read_variables(tiny_cifar.checkpoint)
    del variables["cell_1/1x1/weights"]
    variables["cell_2/1x1/kernel"] = variables.pop("cell_2/1x1/weights")
    variables["cell_0/1x1/weights"] = np.zeros((1, 1, 12, 5), np.float32)
    variables["l1_stem_bn/beta"] = variables["l1_stem_bn/beta"].astype(np.float64)
    with pytest.raises(WeightsError) as caught:
        load_weights(str(write_checkpoint(variables)), tiny_cifar.spec)
    assert str(caught.value).splitlines()[1:] == [
        "  missing: cell_1/1x1/weights",
        "  missing: cell_2/1x1/weights",
        "  unexpected: cell_2/1x1/kernel",
        "  wrong shape: cell_0/1x1/weights is [1, 1, 12, 5], expected [1, 1, 12, 4]",
        "  wrong type: l1_stem_bn/beta is float64, expected float32",
    ]
    assert "does not hold tiny_cifar; 5 variables differ" in str(caught.value)


def test_another_network_s_checkpoint_gives_a_list_that_ends(tiny_cifar: "Reference", tiny_mobile: "Reference") -> None:
    """Hundreds of differences are counted, the first fifty named."""
    with pytest.raises(WeightsError) as caught:
        load_weights(str(tiny_mobile.checkpoint), tiny_cifar.spec)
    first, *named, last = str(caught.value).splitlines()
    count = int(first.split(";")[1].split()[0])
    assert len(named) == 50
    assert last == f"  and {count - 50} more"


def test_half_a_classifier_is_an_error(
    tiny_cifar: "Reference", read_variables: "Reader", write_checkpoint: "Writer"
) -> None:
    """The classifier may be absent as a whole, and not in part."""
    variables = read_variables(tiny_cifar.checkpoint)
    del variables["final_layer/FC/biases"]
    with pytest.raises(WeightsError, match="missing: final_layer/FC/biases"):
        load_weights(str(write_checkpoint(variables)), tiny_cifar.spec)


def test_directories_with_a_checkpoint(
    tiny_cifar: "Reference", read_variables: "Reader", write_checkpoint: "Writer"
) -> None:
    """A directory may hold a checkpoint under any name, or be a TF1 Hub module."""
    variables = read_variables(tiny_cifar.checkpoint)
    plain = write_checkpoint(variables, "plain/nasnet.ckpt-7").parent
    module = write_checkpoint(variables, "module/variables/variables").parents[1]
    for directory in (plain, module):
        assert load_weights(str(directory), tiny_cifar.spec).digest == digest(variables)


def test_a_directory_with_two_checkpoints(
    tiny_cifar: "Reference", read_variables: "Reader", write_checkpoint: "Writer"
) -> None:
    """Of several checkpoints, the latest by the `checkpoint` file is read; without the file none is guessed."""
    variables = read_variables(tiny_cifar.checkpoint)
    directory = write_checkpoint(variables, "a.ckpt").parent
    write_checkpoint({"x": np.zeros(1, np.float32)}, "b.ckpt")
    with pytest.raises(WeightsError, match=r"must hold a module or one checkpoint, and holds a\.ckpt, b\.ckpt"):
        load_weights(str(directory), tiny_cifar.spec)
    (directory / "checkpoint").write_text('model_checkpoint_path: "a.ckpt"\n')
    assert load_weights(str(directory), tiny_cifar.spec).digest == digest(variables)


def test_nothing_there(tiny_cifar: "Reference", tmp_path: Path) -> None:
    """A path without a checkpoint is named in the error."""
    with pytest.raises(WeightsError, match=r"there is nothing at .*nowhere; weights are published, hub:HANDLE, "):
        load_weights(str(tmp_path / "nowhere"), tiny_cifar.spec)
    with pytest.raises(WeightsError, match="and holds none"):
        load_weights(str(tmp_path), tiny_cifar.spec)


def test_a_broken_file(tiny_cifar: "Reference", tmp_path: Path) -> None:
    """A checkpoint that is cut off is a weights error, not a crash."""
    for path in tiny_cifar.folder.glob("model.ckpt.*"):
        shutil.copy(path, tmp_path)
    (tmp_path / "model.ckpt.data-00000-of-00001").write_bytes(b"cut")
    with pytest.raises(WeightsError, match="cannot read the checkpoint"):
        load_weights(str(tmp_path / "model.ckpt"), tiny_cifar.spec)


def test_digest_sees_names_shapes_and_values() -> None:
    """Equal weights have equal digests in any order; another name, shape or value makes another."""
    zeros, ones = np.zeros((2, 3), np.float32), np.ones(2, np.float32)
    same = digest({"a": zeros, "b": ones})
    assert same == digest({"b": ones, "a": zeros})
    others = ({"a": zeros, "c": ones}, {"a": zeros.T, "b": ones}, {"a": zeros, "b": ones * 2}, {"a": zeros})
    assert len({same, *(digest(other) for other in others)}) == 5
