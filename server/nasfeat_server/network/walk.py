"""The one walk over the cells. What it makes of the network is up to the operations it is given."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeVar

from nasfeat_server.network.cells import NORMAL, REDUCTION, Branch, Cell
from nasfeat_server.network.spec import NetworkSpec

Padding = Literal["same", "valid"]


class Shaped(Protocol):
    """An image-like value: a tensor, symbolic or not, or a mere shape."""

    @property
    def shape(self) -> Any:
        """[N, H, W, C]."""
        ...


T = TypeVar("T", bound=Shaped)


class Operations(Protocol[T]):
    """What the network is made of. Scopes are TF-Slim's names, by which the variables are known.

    Every convolution is followed by a batch normalisation and has no bias of its own. Padding is TensorFlow's: "same"
    pads after the image first. How the poolings with a stride treat what they pad is the spec's `wiring`.
    """

    def scale(self, images: T) -> T:
        """Bring images to the range -1..1."""
        ...

    def relu(self, x: T) -> T:
        """Cut off negative values."""
        ...

    def convolution(
        self, x: T, scope: str, norm: str, *, filters: int, size: int = 1, stride: int = 1, padding: Padding = "same"
    ) -> T:
        """Convolve with `scope`/weights [size, size, C, filters], then normalise with `norm`."""
        ...

    def separable(self, x: T, scope: str, norm: str, *, filters: int, size: int, stride: int) -> T:
        """Convolve each channel by itself, mix the channels, then normalise: nothing in between."""
        ...

    def factorized_reduction(self, x: T, scope: str, *, filters: int) -> T:
        """Halve rows and columns: two 1x1 paths, one over the even pixels, one over the odd, side by side."""
        ...

    def average_pool(self, x: T, *, stride: int, size: int = 3, padding: Padding = "same") -> T:
        """Average over size x size pixels."""
        ...

    def max_pool(self, x: T, *, stride: int) -> T:
        """Take the maximum of 3x3 pixels, with "same" padding."""
        ...

    def drop_path(self, x: T, cell: str) -> T:
        """Leave out a branch of `cell` for some of the images; training alone does so."""
        ...

    def add(self, x: T, y: T) -> T:
        """Add two values of one shape."""
        ...

    def concatenate(self, xs: Sequence[T]) -> T:
        """Put channels side by side."""
        ...

    def global_pool(self, x: T) -> T:
        """Average over all pixels: [N, C]."""
        ...

    def dense(self, x: T, scope: str, *, units: int) -> T:
        """Map [N, C] to [N, units] with `scope`/weights and `scope`/biases."""
        ...

    def softmax(self, x: T) -> T:
        """Turn logits into probabilities."""
        ...


def walk(
    spec: NetworkSpec, ops: Operations[T], images: T, *, classifier: bool = True, auxiliary: bool = False
) -> dict[str, T]:
    """Build the network over `images` and return its end points by TF-Slim's names.

    Args:
        spec: which network.
        ops: what each operation becomes.
        images: [N, H, W, 3] in the range that `ops.scale` expects; any H and W that survive the reductions.
        classifier: end with `Logits` and `Predictions`, else with `global_pool`, the feature vector.
        auxiliary: add `AuxLogits`, a second classifier in mid-network that helps training.

    Returns:
        `Stem`, `Cell_i`, `Reduction_Cell_i` [N, H, W, C]; `global_pool` [N, F]; `Logits`, `Predictions`, `AuxLogits`
        [N, classes].
    """
    before, net = _stem(spec, ops, ops.scale(images))
    endpoints = {"Stem": net}
    filters: float = spec.num_conv_filters
    for index in range(spec.num_cells):
        previous = before
        if index in spec.reduction_indices:
            filters *= spec.filter_scaling_rate
            number = spec.reduction_indices.index(index)
            reduced = _cell(ops, REDUCTION, f"reduction_cell_{number}", net, before, int(filters))
            endpoints[f"Reduction_Cell_{number}"] = reduced
            before, net = net, reduced
            if not spec.skip_reduction_layer_input:
                previous = before
        before, net = net, _cell(ops, NORMAL, f"cell_{index}", net, previous, int(filters))
        endpoints[f"Cell_{index}"] = net
        if auxiliary and index == spec.auxiliary_cell:
            endpoints["AuxLogits"] = _auxiliary(spec, ops, net)
    endpoints["global_pool"] = ops.global_pool(ops.relu(net))
    if classifier:
        endpoints["Logits"] = ops.dense(endpoints["global_pool"], "final_layer/FC", units=spec.num_classes)
        endpoints["Predictions"] = ops.softmax(endpoints["Logits"])
    return endpoints


def _auxiliary(spec: NetworkSpec, ops: Operations[T], net: T) -> T:
    scope = f"aux_{spec.auxiliary_cell}/aux_logits"
    net = ops.average_pool(ops.relu(net), size=5, stride=3, padding="valid")
    net = ops.relu(ops.convolution(net, f"{scope}/proj", f"{scope}/aux_bn0", filters=128))
    rows = net.shape[1]
    net = ops.relu(ops.convolution(net, f"{scope}/Conv", f"{scope}/aux_bn1", filters=768, size=rows, padding="valid"))
    # One pixel is left, so that its average is the flattening.
    return ops.dense(ops.global_pool(net), f"{scope}/FC", units=spec.num_classes)


def _stem(spec: NetworkSpec, ops: Operations[T], images: T) -> tuple[T | None, T]:
    if spec.family == "cifar":
        return None, ops.convolution(images, "l1_stem_3x3", "l1_stem_bn", filters=spec.stem_filters, size=3)
    before: T | None = None
    net = ops.convolution(images, "conv0", "conv0_bn", filters=spec.stem_filters, size=3, stride=2, padding="valid")
    for index in range(2):
        filters = int(spec.num_conv_filters / spec.filter_scaling_rate ** (2 - index))
        before, net = net, _cell(ops, REDUCTION, f"cell_stem_{index}", net, before, filters)
    return before, net


def _cell(ops: Operations[T], cell: Cell, scope: str, net: T, previous: T | None, filters: int) -> T:
    squeezed = ops.convolution(ops.relu(net), f"{scope}/1x1", f"{scope}/beginning_bn", filters=filters)
    states = [squeezed, net if previous is None else _fit(ops, scope, previous, net, filters)]
    for number, pair in enumerate(cell.combinations):
        branches = [
            _branch(ops, branch, f"{scope}/comb_iter_{number}/{side}", states, cell.stride, filters)
            for branch, side in zip(pair, ("left", "right"), strict=True)
        ]
        kept = [
            made if branch.operation == "identity" else ops.drop_path(made, scope)
            for branch, made in zip(pair, branches, strict=True)
        ]
        states.append(ops.add(*kept))
    outputs = ((f"{scope}/cell_output/reduction_{index}", states[index]) for index in cell.concatenated)
    return ops.concatenate([_narrow(ops, name, state, filters) for name, state in outputs])


def _fit(ops: Operations[T], scope: str, previous: T, net: T, filters: int) -> T:
    """Give the output of the cell before the rows, columns and filters of this cell's state 0."""
    if previous.shape[1] != net.shape[1]:
        return ops.factorized_reduction(ops.relu(previous), scope, filters=filters)
    if previous.shape[-1] != filters:
        return ops.convolution(ops.relu(previous), f"{scope}/prev_1x1", f"{scope}/prev_bn", filters=filters)
    return previous


def _branch(ops: Operations[T], branch: Branch, scope: str, states: Sequence[T], stride: int, filters: int) -> T:
    x = states[branch.state]
    stride = stride if branch.state < 2 else 1
    match branch.operation:
        case "separable":
            return _separable_stack(ops, scope, x, branch.size, stride, filters)
        case "identity":
            return x if x.shape[-1] == filters else _project(ops, scope, ops.relu(x), filters)
        case "average_pool":
            pooled = ops.average_pool(x, stride=stride)
        case "max_pool":
            pooled = ops.max_pool(x, stride=stride)
    return pooled if pooled.shape[-1] == filters else _project(ops, scope, pooled, filters)


def _separable_stack(ops: Operations[T], scope: str, x: T, size: int, stride: int, filters: int) -> T:
    name = f"{size}x{size}"
    for number, step in ((1, stride), (2, 1)):
        x = ops.separable(
            ops.relu(x),
            f"{scope}/separable_{name}_{number}",
            f"{scope}/bn_sep_{name}_{number}",
            filters=filters,
            size=size,
            stride=step,
        )
    return x


def _project(ops: Operations[T], scope: str, x: T, filters: int) -> T:
    return ops.convolution(x, f"{scope}/1x1", f"{scope}/bn_1", filters=filters)


def _narrow(ops: Operations[T], scope: str, x: T, filters: int) -> T:
    """Bring a state to the cell's filters; only the first cell of the CIFAR family has one that needs it."""
    if x.shape[-1] == filters:
        return x
    return ops.convolution(x, f"{scope}/path_conv", f"{scope}/path_bn", filters=filters)
