"""Specs: the variants, those read from files, and what they say about cells."""

import json
from pathlib import Path
from typing import Any

import pytest

from nasfeat_server.errors import ConfigurationError, WeightsError
from nasfeat_server.network.card import ModelCard, read_card, write_card
from nasfeat_server.network.outputs import output_shapes
from nasfeat_server.network.spec import VARIANTS, find_spec

ORACLE = Path(__file__).parents[1] / "data" / "oracle"
TINY = {"name": "t", "family": "imagenet", "image_size": 96, "num_classes": 3, "num_cells": 3, "num_conv_filters": 12}


def test_a_variant_may_be_a_file() -> None:
    """A .json file with a spec's fields stands for a network of the family that has no name."""
    spec = find_spec(str(ORACLE / "tiny_large" / "spec.json"))
    assert (spec.name, spec.num_cells, spec.feature_length) == ("tiny_large", 6, 192)
    assert find_spec(spec) is spec
    assert find_spec("mobile") is VARIANTS["mobile"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stem_multiplier": None}, "stem_multiplier must be float, not None"),
        ({"num_cells": "3"}, "num_cells must be int, not '3'"),
        ({"colour": 1}, "unexpected keyword argument 'colour'"),
        ({"image_size": 0}, "image_size must be 1 or more, not 0"),
        ({"family": "vgg"}, "family must be one of imagenet, cifar, not 'vgg'"),
        ({"wiring": "torch"}, "wiring must be one of slim, keras, not 'torch'"),
        ({"num_cells": 2}, "2 reduction layers need more cells than 2"),
        ({"drop_path_keep_prob": 0}, "drop_path_keep_prob must be over 0 and at most 1, not 0"),
    ],
)
def test_a_file_that_describes_no_network(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """The error names the file, the field and what is allowed."""
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(TINY | {"stem_multiplier": 1} | changes))
    with pytest.raises(ConfigurationError, match=r"spec\.json does not describe a network") as caught:
        find_spec(str(path))
    assert message in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """No file, and one that is no JSON."""
    with pytest.raises(ConfigurationError, match=r"none\.json does not describe a network: .*No such file"):
        find_spec(str(tmp_path / "none.json"))
    (tmp_path / "text.json").write_text("large")
    with pytest.raises(ConfigurationError, match=r"text\.json does not describe a network: Expecting value"):
        find_spec(str(tmp_path / "text.json"))


def test_outputs_of_large() -> None:
    """Every activation of the module comes as a map and as its average; weights without classifier have no logits."""
    shapes = output_shapes(VARIANTS["large"], classifier=True)
    assert list(shapes)[:4] == ["global_pool", "Logits", "Predictions", "Stem"]
    assert (shapes["Cell_0"], shapes["Cell_0/mean"]) == ((42, 42, 1008), (1008,))
    assert (shapes["Reduction_Cell_1"], shapes["Cell_17"]) == ((11, 11, 2688), (11, 11, 4032))
    assert len(shapes) == 3 + 2 * (1 + 18 + 2)
    assert set(shapes) - set(output_shapes(VARIANTS["large"], classifier=False)) == {"Logits", "Predictions"}


def test_a_card_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Spec, labels in any script, and whether the weights are trained."""
    card = ModelCard(spec=VARIANTS["mobile"], labels=("Schnäppchen", "猫"), trained=False)
    assert read_card(tmp_path) is None
    write_card(tmp_path, card)
    assert read_card(tmp_path) == card


def test_a_card_that_makes_no_sense(tmp_path: Path) -> None:
    """The file is named."""
    write_card(tmp_path, ModelCard(spec=VARIANTS["mobile"], labels=(), trained=True))
    (tmp_path / "assets.extra" / "nasfeat.json").write_text('{"labels": []}')
    with pytest.raises(WeightsError, match=r"nasfeat\.json does not describe a module: KeyError\('spec'\)"):
        read_card(tmp_path)
