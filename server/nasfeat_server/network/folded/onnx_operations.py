"""The folded network as nodes of an ONNX graph."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from nasfeat_server.network.spec import NetworkSpec
from nasfeat_server.network.walk import Padding

Pads = tuple[int, int, int, int]
"""Rows and columns before, rows and columns after."""

_NO_PADS: Pads = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Value:
    """A named value: [N, C, H, W] or [N, C] in the graph.

    Attributes:
        name: in the graph.
        shape: (None, H, W, C) or (None, C): the order that the walk reads.
    """

    name: str
    shape: tuple[int | None, ...]

    def rows_and_columns(self) -> tuple[int, int]:
        """H and W, which the graph fixes."""
        _, rows, columns, _ = self.shape
        if rows is None or columns is None:
            raise ValueError(f"{self.name} must have rows and columns, and is {self.shape}")
        return rows, columns


class OnnxOperations:
    """`walk.Operations` over what `fold` returns, for images [N, H, W, 3]; they gather the nodes.

    What is computed twice in the walk, as some poolings are, becomes one node.

    Attributes:
        nodes: in the order of computation.
        initializers: the parameters that the nodes read, by name.
    """

    def __init__(
        self, spec: NetworkSpec, parameters: Mapping[str, npt.NDArray[np.float32]], *, of_pixels: bool
    ) -> None:
        """Use `parameters` by the names that `fold` gives; images are uint8 `of_pixels`, else float32 of 0..1."""
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self._scale_in_stem = spec.family == "imagenet"
        self._of_pixels = of_pixels
        self._zeros_count = spec.wiring == "keras"
        self._parameters = parameters
        self._values: dict[tuple[Any, ...], Value] = {}

    def scale(self, images: Value) -> Value:
        """Put channels before rows, and bring the images to the range that the first kernel takes."""
        x = self._add("Transpose", [images.name], images.shape, perm=(0, 3, 1, 2))
        if self._of_pixels:
            x = self._add("Cast", [x.name], x.shape, to=onnx.TensorProto.FLOAT)
        full = 255 if self._of_pixels else 1
        wanted = 255 if self._scale_in_stem else 2
        if wanted != full:
            x = self._add("Mul", [x.name, self._scalar("scale", wanted / full)], x.shape)
        if self._scale_in_stem:
            return x
        return self._add("Sub", [x.name, self._scalar("offset", 1)], x.shape)

    def relu(self, x: Value) -> Value:
        """Cut off negative values."""
        return self._add("Relu", [x.name], x.shape)

    def convolution(
        self,
        x: Value,
        scope: str,
        norm: str,
        *,
        filters: int,
        size: int = 1,
        stride: int = 1,
        padding: Padding = "same",
    ) -> Value:
        """Convolve and add the bias."""
        del filters
        pads = _same(x, size, stride) if padding == "same" else _NO_PADS
        return self._convolve(x, f"{scope}/weights", stride, pads, bias=self._vector(norm))

    def separable(self, x: Value, scope: str, norm: str, *, filters: int, size: int, stride: int) -> Value:
        """Convolve each channel by itself, mix the channels, add the bias."""
        del filters
        x = self._convolve(x, f"{scope}/depthwise_weights", stride, _same(x, size, stride), groups=x.shape[-1] or 1)
        return self._convolve(x, f"{scope}/pointwise_weights", 1, _NO_PADS, bias=self._vector(norm))

    def factorized_reduction(self, x: Value, scope: str, *, filters: int) -> Value:
        """Convolve the even and the odd pixels, each with its half of the bias."""
        halves = np.split(self._parameters[f"{scope}/final_path_bn"], [filters // 2])
        biases = [self._initializer(f"{scope}/path{path}_conv/biases", half) for path, half in enumerate(halves, 1)]
        even = self._convolve(x, f"{scope}/path1_conv/weights", 2, _NO_PADS, bias=biases[0])
        # Zeros follow the last pixel, where an odd one is missing.
        odd = self._convolve(self._shift(x), f"{scope}/path2_conv/weights", 2, (0, 0, 1, 1), bias=biases[1])
        return self.concatenate([even, odd])

    def average_pool(self, x: Value, *, stride: int, size: int = 3, padding: Padding = "same") -> Value:
        """Average over the pixels of a window that are inside the image; zeros count where Keras' wiring has them."""
        if self._zeros_count and stride == 2:
            return self._pool("AveragePool", self._zeros_around(x), 3, 2, _NO_PADS)
        pads = _same(x, size, stride) if padding == "same" else _NO_PADS
        return self._pool("AveragePool", x, size, stride, pads, count_include_pad=0)

    def max_pool(self, x: Value, *, stride: int) -> Value:
        """Take the maximum of the pixels of a window."""
        if self._zeros_count and stride == 2:
            return self._pool("MaxPool", self._zeros_around(x), 3, 2, _NO_PADS)
        return self._pool("MaxPool", x, 3, stride, _same(x, 3, stride))

    def drop_path(self, x: Value, cell: str) -> Value:
        """Keep everything: this is not training."""
        del cell
        return x

    def add(self, x: Value, y: Value) -> Value:
        """Add two values."""
        return self._add("Add", [x.name, y.name], x.shape)

    def concatenate(self, xs: Sequence[Value]) -> Value:
        """Put channels side by side."""
        shape = (*xs[0].shape[:-1], sum(x.shape[-1] or 0 for x in xs))
        return self._add("Concat", [x.name for x in xs], shape, axis=1)

    def global_pool(self, x: Value) -> Value:
        """Average over all pixels."""
        pooled = self._add("GlobalAveragePool", [x.name], x.shape)
        return self._add("Flatten", [pooled.name], (None, x.shape[-1]))

    def dense(self, x: Value, scope: str, *, units: int) -> Value:
        """Map [N, C] to [N, units]."""
        names = [self._initializer(name, self._parameters[name]) for name in (f"{scope}/weights", f"{scope}/biases")]
        return self._add("Gemm", [x.name, *names], (None, units))

    def softmax(self, x: Value) -> Value:
        """Turn logits into probabilities."""
        return self._add("Softmax", [x.name], x.shape)

    def channels_last(self, x: Value) -> Value:
        """Put channels behind columns; nothing else can be computed of what this returns."""
        return self._add("Transpose", [x.name], x.shape, perm=(0, 2, 3, 1))

    def _convolve(
        self, x: Value, name: str, stride: int, pads: Pads, *, bias: str | None = None, groups: int = 1
    ) -> Value:
        kernel = self._parameters[name]
        size = kernel.shape[0]
        channels, axes = (groups, (2, 3, 0, 1)) if groups > 1 else (kernel.shape[-1], (3, 2, 0, 1))
        inputs = [x.name, self._initializer(name, kernel.transpose(axes)), *([bias] if bias else [])]
        attributes = {"kernel_shape": (size, size), "strides": (stride, stride), "pads": pads, "group": groups}
        return self._add("Conv", inputs, _after(x, size, stride, pads, channels), **attributes)

    def _zeros_around(self, x: Value) -> Value:
        """Pad for windows of 3x3 in steps of 2 as keras.applications' NASNet does.

        By itself, since ONNX Runtime 1.22 counts padding of unequal sides wrongly in an average.
        """
        rows, columns = x.rows_and_columns()
        top, left = rows % 2, columns % 2
        pads = self._integers(0, 0, top, left, 0, 0, 1, 1)
        return self._add("Pad", [x.name, pads], (None, rows + top + 1, columns + left + 1, x.shape[-1]))

    def _shift(self, x: Value) -> Value:
        """Leave out the first row and column."""
        rows, columns = x.rows_and_columns()
        bounds = [self._integers(1, 1), self._integers(rows, columns), self._integers(2, 3)]
        return self._add("Slice", [x.name, *bounds], (None, rows - 1, columns - 1, x.shape[-1]))

    def _pool(self, operation: str, x: Value, size: int, stride: int, pads: Pads, **attributes: Any) -> Value:
        shape = _after(x, size, stride, pads, x.shape[-1])
        attributes |= {"kernel_shape": (size, size), "strides": (stride, stride), "pads": pads}
        return self._add(operation, [x.name], shape, **attributes)

    def _vector(self, name: str) -> str:
        return self._initializer(name, self._parameters[name])

    def _scalar(self, name: str, value: float) -> str:
        return self._initializer(name, np.array(value, np.float32))

    def _integers(self, *values: int) -> str:
        return self._initializer("_".join(map(str, ("integers", *values))), np.array(values, np.int64))

    def _initializer(self, name: str, array: npt.NDArray[Any]) -> str:
        if name not in self.initializers:
            self.initializers[name] = onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def _add(self, operation: str, inputs: list[str], shape: tuple[int | None, ...], **attributes: Any) -> Value:
        key = (operation, *inputs, *sorted(attributes.items()))
        if key not in self._values:
            name = f"{operation}_{len(self.nodes)}"
            self.nodes.append(onnx.helper.make_node(operation, inputs, [name], name=name, **attributes))
            self._values[key] = Value(name, shape)
        return self._values[key]


def _same(x: Value, size: int, stride: int) -> Pads:
    """Pad as TensorFlow's "SAME" does: as little as keeps every stride, the odd one after the image."""
    rows, columns = (max((-(-pixels // stride) - 1) * stride + size - pixels, 0) for pixels in x.rows_and_columns())
    return rows // 2, columns // 2, rows - rows // 2, columns - columns // 2


def _after(x: Value, size: int, stride: int, pads: Pads, channels: int | None) -> tuple[int | None, ...]:
    rows, columns = (
        (pixels + before + after - size) // stride + 1
        for pixels, before, after in zip(x.rows_and_columns(), pads[:2], pads[2:], strict=True)
    )
    return None, rows, columns, channels
