"""What makes one member of the NASNet-A family differ from another, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from nasfeat_server.errors import ConfigurationError

Family = Literal["imagenet", "cifar"]


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
        hub_handle: the published feature-vector module on TF-Hub, if there is one.
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
    hub_handle: str | None = None

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
            hub_handle="google/imagenet/nasnet_large/feature_vector/1",
        ),
        "mobile": NetworkSpec(
            name="nasnet_mobile",
            family="imagenet",
            image_size=224,
            num_classes=1001,
            num_cells=12,
            num_conv_filters=44,
            stem_multiplier=1.0,
            hub_handle="google/imagenet/nasnet_mobile/feature_vector/1",
        ),
        "cifar": NetworkSpec(
            name="nasnet_cifar",
            family="cifar",
            image_size=32,
            num_classes=10,
            num_cells=18,
            num_conv_filters=32,
            stem_multiplier=3.0,
        ),
    }
)
"""The three networks of the NASNet paper that TF-Slim defines, by the name a user gives."""


def find_spec(variant: str | NetworkSpec) -> NetworkSpec:
    """Return the spec that `variant` names, or `variant` itself if it is one.

    Raises:
        ConfigurationError: no variant has this name.
    """
    if isinstance(variant, NetworkSpec):
        return variant
    if variant not in VARIANTS:
        raise ConfigurationError(f"there is no variant {variant!r}; the variants are {', '.join(VARIANTS)}")
    return VARIANTS[variant]
