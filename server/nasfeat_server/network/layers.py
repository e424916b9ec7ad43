"""The network's convolutions and variables, listed without a framework: the walk over shapes alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nasfeat_server.network.spec import NetworkSpec
from nasfeat_server.network.walk import Padding, walk

BATCH_NORM_VARIABLES = ("beta", "gamma", "moving_mean", "moving_variance")
DEPTHWISE_SUFFIX = "/depthwise_weights"


class Kernel(NamedTuple):
    """One kernel variable: its name, and its shape [rows, columns, in, out], or [.., in, 1] if depthwise."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Kernels and the batch normalisation over their output.

    Attributes:
        norm: the scope of the batch normalisation's four vectors, each as long as the output has channels.
        kernels: applied in order; the outputs of several kernels that mix channels lie side by side.
    """

    norm: str
    kernels: tuple[Kernel, ...]

    @property
    def mixing(self) -> tuple[Kernel, ...]:
        """The kernels whose output reaches the batch normalisation."""
        return tuple(kernel for kernel in self.kernels if not kernel.name.endswith(DEPTHWISE_SUFFIX))

    @property
    def filters(self) -> int:
        """Channels of the output."""
        return sum(kernel.shape[-1] for kernel in self.mixing)


def convolutions(spec: NetworkSpec) -> tuple[Layer, ...]:
    """List every convolution of the network, in the order of the walk."""
    return tuple(_record(spec).layers)


def expected_variables(spec: NetworkSpec) -> dict[str, tuple[int, ...]]:
    """Name every variable that inference reads, classifier included, with its shape; sorted by name."""
    return _record(spec).variables()


def endpoint_shapes(spec: NetworkSpec) -> dict[str, tuple[int, ...]]:
    """Name every end point of inference with its shape for one image, in the order of the walk."""
    endpoints = walk(spec, _Recorder(), _input(spec))
    return {name: value.shape[1:] for name, value in endpoints.items()}


def classifier_variables(spec: NetworkSpec) -> frozenset[str]:
    """Name the variables that only `Logits` and `Predictions` need."""
    return frozenset(_record(spec).dense_variables)


@dataclass(frozen=True, slots=True)
class _Shape:
    shape: tuple[int, ...]

    def within(self, size: int, padding: Padding) -> "_Shape":
        """Keep the positions where a window of `size` fits."""
        count, rows, columns, channels = self.shape
        lost = size - 1 if padding == "valid" else 0
        return _Shape((count, rows - lost, columns - lost, channels))

    def after(self, channels: int, stride: int) -> "_Shape":
        """Follow an operation with "same" padding."""
        count, rows, columns, _ = self.shape
        return _Shape((count, -(-rows // stride), -(-columns // stride), channels))


def _input(spec: NetworkSpec) -> _Shape:
    return _Shape((1, spec.image_size, spec.image_size, 3))


def _record(spec: NetworkSpec) -> "_Recorder":
    recorder = _Recorder()
    walk(spec, recorder, _input(spec))
    return recorder


class _Recorder:
    """Operations on shapes that note the variables they would need."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.dense_variables: dict[str, tuple[int, ...]] = {}

    def variables(self) -> dict[str, tuple[int, ...]]:
        variables = dict(self.dense_variables)
        for layer in self.layers:
            variables |= dict(layer.kernels)
            variables |= {f"{layer.norm}/{vector}": (layer.filters,) for vector in BATCH_NORM_VARIABLES}
        return dict(sorted(variables.items()))

    def scale(self, images: _Shape) -> _Shape:
        return images

    def relu(self, x: _Shape) -> _Shape:
        return x

    def convolution(
        self,
        x: _Shape,
        scope: str,
        norm: str,
        *,
        filters: int,
        size: int = 1,
        stride: int = 1,
        padding: Padding = "same",
    ) -> _Shape:
        kernel = Kernel(f"{scope}/weights", (size, size, x.shape[-1], filters))
        self.layers.append(Layer(norm=norm, kernels=(kernel,)))
        return x.within(size, padding).after(filters, stride)

    def separable(self, x: _Shape, scope: str, norm: str, *, filters: int, size: int, stride: int) -> _Shape:
        depthwise = Kernel(scope + DEPTHWISE_SUFFIX, (size, size, x.shape[-1], 1))
        pointwise = Kernel(f"{scope}/pointwise_weights", (1, 1, x.shape[-1], filters))
        self.layers.append(Layer(norm=norm, kernels=(depthwise, pointwise)))
        return x.after(filters, stride)

    def factorized_reduction(self, x: _Shape, scope: str, *, filters: int) -> _Shape:
        paths = tuple(Kernel(f"{scope}/path{path}_conv/weights", (1, 1, x.shape[-1], filters // 2)) for path in (1, 2))
        self.layers.append(Layer(norm=f"{scope}/final_path_bn", kernels=paths))
        return x.after(filters, 2)

    def average_pool(self, x: _Shape, *, stride: int, size: int = 3, padding: Padding = "same") -> _Shape:
        return x.within(size, padding).after(x.shape[-1], stride)

    def max_pool(self, x: _Shape, *, stride: int) -> _Shape:
        return x.after(x.shape[-1], stride)

    def drop_path(self, x: _Shape, cell: str) -> _Shape:
        del cell
        return x

    def add(self, x: _Shape, y: _Shape) -> _Shape:
        if x != y:
            raise ValueError(f"cannot add {y.shape} to {x.shape}")
        return x

    def concatenate(self, xs: Sequence[_Shape]) -> _Shape:
        return xs[0].after(sum(x.shape[-1] for x in xs), 1)

    def global_pool(self, x: _Shape) -> _Shape:
        return _Shape((x.shape[0], x.shape[-1]))

    def dense(self, x: _Shape, scope: str, *, units: int) -> _Shape:
        self.dense_variables |= {f"{scope}/weights": (x.shape[-1], units), f"{scope}/biases": (units,)}
        return _Shape((x.shape[0], units))

    def softmax(self, x: _Shape) -> _Shape:
        return x
