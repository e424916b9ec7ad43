"""What makes one member of the NASNet-A family differ from another, as plain data."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from nasfeat_server.errors import ConfigurationError

Family = Literal["imagenet", "cifar"]
Wiring = Literal["slim", "keras"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """One network of the family, in the vocabulary of TF-Slim's `nasnet.py`.

    Attributes:
        name: the architecture's name in reports, e.g. "nasnet_large".
        family: "imagenet" starts with a strided convolution and two reduction cells, "cifar" with one convolution.
        image_size: rows and columns of the input, in pixels.
        num_classes: outputs of the classifier; class 0 of the ImageNet networks is the background.
        num_cells: normal cells, reduction cells not counted.
        num_conv_filters: filters of a normal cell's operations before the first reduction.
        stem_multiplier: scales the filters of the first convolution.
        skip_reduction_layer_input: the cell after a reduction looks back past it, at the layer before its input.
        filter_scaling_rate: growth of the filters at each reduction.
        num_reduction_layers: reduction cells between the normal cells.
        drop_path_keep_prob: how often training keeps a branch of the last cell; earlier cells lose fewer.
        wiring: "slim" pools in reduction cells as the original does: a maximum ignores the padding, an average divides
            by the pixels inside. "keras" counts zeros there, as keras.applications.NASNetLarge does.
    """

    name: str
    family: Family
    image_size: int
    num_classes: int
    num_cells: int
    num_conv_filters: int
    stem_multiplier: float
    skip_reduction_layer_input: bool = False
    filter_scaling_rate: float = 2.0
    num_reduction_layers: int = 2
    drop_path_keep_prob: float = 1.0
    wiring: Wiring = "slim"

    @property
    def stem_filters(self) -> int:
        """Filters of the first convolution."""
        base = 32 if self.family == "imagenet" else self.num_conv_filters
        return int(base * self.stem_multiplier)

    @property
    def reduction_indices(self) -> tuple[int, ...]:
        """The normal cells that a reduction cell comes right before; they part the cells evenly."""
        parts = self.num_reduction_layers + 1
        return tuple(part * self.num_cells // parts for part in range(1, parts))

    @property
    def cells(self) -> tuple[str, ...]:
        """The scopes of all cells, reduction cells and those of the stem too, from the input to the output."""
        scopes = ["cell_stem_0", "cell_stem_1"] if self.family == "imagenet" else []
        for index in range(self.num_cells):
            if index in self.reduction_indices:
                scopes.append(f"reduction_cell_{self.reduction_indices.index(index)}")
            scopes.append(f"cell_{index}")
        return tuple(scopes)

    @property
    def auxiliary_cell(self) -> int:
        """The normal cell whose output the auxiliary head reads: the one before the last reduction."""
        return self.reduction_indices[-1] - 1

    def keep_probability(self, cell: str) -> float:
        """Say how often training keeps each branch of `cell`, one of `cells`: less often the later the cell."""
        share = (self.cells.index(cell) + 1) / len(self.cells)
        return 1 - share * (1 - self.drop_path_keep_prob)

    @property
    def feature_length(self) -> int:
        """Values in a feature vector: the six concatenated states of the last normal cell."""
        return 6 * int(self.num_conv_filters * self.filter_scaling_rate**self.num_reduction_layers)

    @property
    def batch_norm_epsilon(self) -> float:
        """Added to the variance in every batch normalisation."""
        return 1e-3 if self.family == "imagenet" else 1e-5

    @property
    def batch_norm_decay(self) -> float:
        """Share of the old moving statistics that one training step keeps."""
        return 0.9997 if self.family == "imagenet" else 0.9


VARIANTS: Mapping[str, NetworkSpec] = MappingProxyType(
    {
        "large": NetworkSpec(
            name="nasnet_large",
            family="imagenet",
            image_size=331,
            num_classes=1001,
            num_cells=18,
            num_conv_filters=168,
            stem_multiplier=3.0,
            skip_reduction_layer_input=True,
            drop_path_keep_prob=0.7,
        ),
        "mobile": NetworkSpec(
            name="nasnet_mobile",
            family="imagenet",
            image_size=224,
            num_classes=1001,
            num_cells=12,
            num_conv_filters=44,
            stem_multiplier=1.0,
        ),
        "cifar": NetworkSpec(
            name="nasnet_cifar",
            family="cifar",
            image_size=32,
            num_classes=10,
            num_cells=18,
            num_conv_filters=32,
            stem_multiplier=3.0,
            drop_path_keep_prob=0.6,
        ),
    }
)
"""The three networks of the NASNet paper that TF-Slim defines, by the name a user gives."""


def find_spec(variant: str | NetworkSpec) -> NetworkSpec:
    """Return the spec that `variant` names, or `variant` itself if it is one.

    Args:
        variant: a key of `VARIANTS`, the path of a .json file with a spec's fields, or a spec.

    Raises:
        ConfigurationError: no variant has this name, or the file does not describe one.
    """
    if isinstance(variant, NetworkSpec):
        return variant
    if variant.endswith(".json"):
        return _read_spec(Path(variant))
    if variant not in VARIANTS:
        raise ConfigurationError(
            f"there is no variant {variant!r}; the variants are {', '.join(VARIANTS)}, or a .json file with a spec"
        )
    return VARIANTS[variant]


def _read_spec(path: Path) -> NetworkSpec:
    try:
        return spec_of(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(f"{path} does not describe a network: {error}") from error


def spec_of(document: Mapping[str, Any]) -> NetworkSpec:
    """Make a spec of its fields as JSON has them.

    Raises:
        TypeError: a field is missing, unknown or of another type.
        ValueError: a field is out of its range.
    """
    spec = NetworkSpec(**document)
    for field in dataclasses.fields(spec):
        value, example = getattr(spec, field.name), getattr(VARIANTS["large"], field.name)
        if not isinstance(value, (int, float) if isinstance(example, float) else type(example)):
            raise TypeError(f"{field.name} must be {type(example).__name__}, not {value!r}")
    _check_ranges(spec)
    return spec


def _check_ranges(spec: NetworkSpec) -> None:
    counts = ("image_size", "num_classes", "num_cells", "num_conv_filters", "num_reduction_layers")
    for name in counts:
        if getattr(spec, name) < 1:
            raise ValueError(f"{name} must be 1 or more, not {getattr(spec, name)}")
    for name, allowed in (("family", get_args(Family)), ("wiring", get_args(Wiring))):
        if getattr(spec, name) not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {getattr(spec, name)!r}")
    if spec.num_cells < spec.num_reduction_layers + 1:
        raise ValueError(f"{spec.num_reduction_layers} reduction layers need more cells than {spec.num_cells}")
    if not 0 < spec.drop_path_keep_prob <= 1:
        raise ValueError(f"drop_path_keep_prob must be over 0 and at most 1, not {spec.drop_path_keep_prob}")
