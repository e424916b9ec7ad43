"""What keras.applications.NASNetLarge and NASNetMobile call the variables that TF-Slim calls otherwise."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from nasfeat_server.errors import WeightsError
from nasfeat_server.network.spec import NetworkSpec

_OUTSIDE: Mapping[str, str] = MappingProxyType(
    {"conv0": "stem_conv1", "conv0_bn": "stem_bn1", "final_layer/FC": "predictions"}
)
# Inside a cell; {kind} is "normal" or "reduction", {block} the cell's name.
_CELL: Mapping[str, str] = MappingProxyType(
    {
        "1x1": "{kind}_conv_1_{block}",
        "beginning_bn": "{kind}_bn_1_{block}",
        "prev_1x1": "adjust_conv_projection_{block}",
        "prev_bn": "adjust_bn_{block}",
        "path1_conv": "adjust_conv_1_{block}",
        "path2_conv": "adjust_conv_2_{block}",
        "final_path_bn": "adjust_bn_{block}",
    }
)
_VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        "weights": "kernel",
        "biases": "bias",
        "depthwise_weights": "depthwise_kernel",
        "pointwise_weights": "pointwise_kernel",
    }
)
_NORMAL = re.compile(r"cell_\d+")
_SEPARABLE = re.compile(r"comb_iter_(\d)/(left|right)/(separable|bn_sep)_\dx\d_(\d)")


def keras_name(spec: NetworkSpec, name: str) -> str:
    """Return "layer/variable" as Keras has it, of a variable by TF-Slim's name.

    Args:
        spec: a network of the ImageNet family with two reduction cells between its normal cells.
        name: one of `expected_variables(spec)`.

    Raises:
        WeightsError: Keras has no such network.
    """
    if spec.family != "imagenet" or spec.num_reduction_layers != 2:
        raise WeightsError(f"Keras files hold networks of the ImageNet family, and {spec.name} is none of them")
    scope, _, variable = name.rpartition("/")
    cell, _, inside = scope.partition("/")
    layer = _OUTSIDE.get(scope) or _layer(_block(spec, cell), inside, reduction=not _NORMAL.fullmatch(cell))
    return f"{layer}/{_VARIABLES.get(variable, variable)}"


def _block(spec: NetworkSpec, cell: str) -> str:
    """Name a cell: the first reduction cell takes a number from the normal ones after it, the second none."""
    first, second = spec.reduction_indices
    kind, _, index = cell.rpartition("_")
    if kind == "cell_stem":
        return f"stem_{int(index) + 1}"
    if kind == "reduction_cell":
        return f"reduce_{(first, second)[int(index)]}"
    return str(int(index) + (int(index) >= first))


def _layer(block: str, inside: str, *, reduction: bool) -> str:
    kind = "reduction" if reduction else "normal"
    if template := _CELL.get(inside):
        return template.format(kind=kind, block=block)
    found = _SEPARABLE.fullmatch(inside)
    if not found:
        raise WeightsError(f"Keras has no layer for {inside} of cell {block}")
    combination, side, what, number = found.groups()
    # Keras swapped the last two combinations of its reduction cell, and calls the one with the convolution 4.
    place = 4 if reduction and combination == "4" else int(combination) + 1
    norm = "_bn" if what == "bn_sep" else ""
    return f"separable_conv_{number}{norm}_{kind}_{side}{place}_{block}"
