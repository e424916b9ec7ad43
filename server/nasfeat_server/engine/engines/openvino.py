"""OpenVINO, the fastest on x86-64 CPUs: the folded network as a graph from pixels to outputs."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino

from nasfeat_server.engine.cores import usable_cores
from nasfeat_server.engine.engines.parts import VECTORS, black_images, describe, read_description
from nasfeat_server.engine.interface import EngineOptions, ModelDescription, Outputs, Results
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.network.folded.fold import fold
from nasfeat_server.network.folded.onnx_graph import onnx_graph
from nasfeat_server.network.outputs import FEATURE_VECTOR
from nasfeat_server.network.weights.values import Weights

_MODEL = "model.xml"
_SIZES = "sizes.json"
_BLOB = "vectors-{}.blob"
# How what is not quantized is computed.
_PRECISIONS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
_CONVOLUTIONS = frozenset({"Convolution", "GroupConvolution"})
# The part of the convolutions, from the input on, that int8 leaves in float: what they round, all others pass on. For
# Large with random weights it takes the cosine to fp32 from 0.991 to 0.995 and costs a fifth of the speed.
_FLOAT_PART = 0.2
_TRIES = 3
# The part of a smaller batch's time that an image of a larger one may take.
_GAIN = 0.95


class _Compiled:
    """The network for one batch size."""

    def __init__(self, model: Any, size: int) -> None:
        self._model = model
        self._request = model.create_infer_request()
        self._shape = (size, *tuple(model.input().shape)[1:])
        self.size = size

    def run(self, images: npt.NDArray[np.uint8], outputs: Outputs) -> dict[str, npt.NDArray[np.float32]]:
        """Give views of what was computed, which hold until the next run."""
        self._request.infer({0: images}, share_inputs=True)
        return {name: self._request.get_tensor(name).data for name in outputs}

    def export(self, path: Path) -> None:
        """Write what was compiled, for processors and releases like this one."""
        path.write_bytes(self._model.export_model().getvalue())

    def seconds(self) -> float:
        """Measure one batch of black images."""
        started_at = time.perf_counter()
        self.run(np.zeros(self._shape, np.uint8), ())
        return time.perf_counter() - started_at


def prepare(weights: Weights, buckets: Sequence[int], directory: Path) -> None:
    """Write the graph of every output into an artifact, and the batch sizes that are worth a model of their own."""
    outputs = tuple(describe(weights, "fp32").output_shapes)
    parameters = fold(weights.spec, dict(weights.variables))
    graph = onnx_graph(weights.spec, parameters, outputs, of_pixels=True)
    _save(openvino.Core().read_model(graph.SerializeToString()), "fp32", buckets, directory)


def convert(
    artifact: Path, precision: str, images: npt.NDArray[np.uint8], buckets: Sequence[int], directory: Path
) -> None:
    """Write a graph in another precision: of bf16 the same one, of int8 one whose ranges were measured on `images`.

    Args:
        artifact: what `prepare` made.
        precision: "bf16" or "int8".
        images: uint8 [N, H, W, 3].
        buckets: the batch sizes that replicas will run.
        directory: the new artifact.

    Raises:
        ConfigurationError: this processor cannot compute so.
    """
    core = openvino.Core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ConfigurationError("this processor has no bf16 arithmetic; int8 and fp32 are there")
    model = core.read_model(artifact / _MODEL)
    _save(_quantized(model, images) if precision == "int8" else model, precision, buckets, directory)


def _quantized(model: Any, images: npt.NDArray[np.uint8]) -> Any:
    try:
        import nncf  # noqa: PLC0415 - needed when int8 is prepared, and not to run it
    except ImportError as error:
        raise ConfigurationError(f"to prepare int8, nncf is needed: pip install 'nasfeat[int8]' ({error})") from error
    names = [node.get_friendly_name() for node in model.get_ordered_ops() if node.get_type_name() in _CONVOLUTIONS]
    return nncf.quantize(
        model,
        nncf.Dataset([image[None] for image in images]),
        subset_size=len(images),
        # Activations before an addition have both signs, and not as far to each side.
        preset=nncf.QuantizationPreset.MIXED,
        ignored_scope=nncf.IgnoredScope(names=names[: round(len(names) * _FLOAT_PART)]),
    )


def _save(model: Any, precision: str, buckets: Sequence[int], directory: Path) -> None:
    openvino.save_model(model, directory / _MODEL, compress_to_fp16=False)
    names = {name for output in model.outputs for name in output.names} & VECTORS
    settings = _settings(precision, threads=usable_cores().threads)
    sizes = _worth_while(buckets, lambda size: _compile(directory, tuple(sorted(names)), size, settings))
    (directory / _SIZES).write_text(json.dumps(sizes))
    if precision == "int8":
        # To compile this anew would take ten seconds at each start. A float graph takes one, and its blob 350 MB.
        for size in sizes:
            _compile(directory, tuple(sorted(names)), size, settings).export(directory / _BLOB.format(size))


def _worth_while(buckets: Sequence[int], compile_for: Callable[[int], _Compiled]) -> list[int]:
    """Measure which batch sizes make an image cheaper; the others are run as several smaller batches.

    Each size holds the weights in a layout of its own, 0.4 GB of them for Large, where batches gain next to nothing.
    """
    sizes, best_s = list[int](), math.inf
    for size in buckets:
        compiled = compile_for(size)
        image_s = min(compiled.seconds() for _ in range(_TRIES)) / size
        if image_s > _GAIN * best_s:
            break
        sizes.append(size)
        best_s = image_s
    return sizes


class OpenVinoEngine:
    """An `Engine` with a compiled model for each batch size that gains by it; larger batches are run as several.

    One model for every size would be slower: with shapes that are not fixed, NASNet-A Mobile takes twice as long. A
    model over the same file gives activations; it is compiled when the first is asked for, for single images.
    """

    def __init__(self, options: EngineOptions) -> None:
        """Keep the options for `load`."""
        self._options = options
        self._names: Outputs = ()
        self._vectors: dict[int, _Compiled] = {}
        self._everything: _Compiled | None = None

    @property
    def max_batch_size(self) -> int:
        """The largest with a model of its own."""
        return max(self._vectors)

    def load(self) -> ModelDescription:
        """Read the prepared graph and compile it.

        Raises:
            WeightsError: what was prepared is not there any more.
        """
        description = read_description(self._options)
        self._names = tuple(description.output_shapes)
        for size in json.loads((_directory(self._options) / _SIZES).read_text()):
            self._vectors[size] = self._imported(size) or self._compile(_vectors(description), size)
        return description

    def warm_up(self, batch_size: int) -> None:
        """Run once over black images."""
        self.run(black_images(self._options, batch_size), (FEATURE_VECTOR,))

    def run(self, images: npt.NDArray[np.uint8], outputs: Outputs) -> Results:
        """Compute `outputs` of uint8 RGB images [N, H, W, 3]."""
        compiled = self._compiled_for(len(images), outputs)
        try:
            if compiled.size == len(images):
                return compiled.run(images, outputs)
            # What a run gives, the next one takes away.
            parts = [
                {name: value.copy() for name, value in compiled.run(part, outputs).items()}
                for part in np.split(images, len(images) // compiled.size)
            ]
        except RuntimeError as error:
            if "alloc" in str(error):
                raise MemoryError(str(error).splitlines()[-1]) from error
            raise
        return {name: np.concatenate([part[name] for part in parts]) for name in outputs}

    def _compiled_for(self, count: int, outputs: Outputs) -> _Compiled:
        if VECTORS.issuperset(outputs):
            return self._vectors[max(size for size in self._vectors if size <= count)]
        if self._everything is None:
            self._everything = self._compile(self._names, 1)
        return self._everything

    def _imported(self, size: int) -> _Compiled | None:
        blob = _directory(self._options) / _BLOB.format(size)
        if not blob.exists():
            return None
        settings = _settings(self._options.precision, threads=self._options.thread_count)
        return _Compiled(openvino.Core().import_model(blob.read_bytes(), "CPU", settings), size)

    def _compile(self, outputs: Outputs, size: int) -> _Compiled:
        settings = _settings(self._options.precision, threads=self._options.thread_count)
        return _compile(_directory(self._options), outputs, size, settings)


def create(options: EngineOptions) -> OpenVinoEngine:
    """Make the engine of a replica's process."""
    return OpenVinoEngine(options)


def _compile(directory: Path, outputs: Outputs, size: int, settings: Mapping[str, Any]) -> _Compiled:
    core = openvino.Core()
    whole = core.read_model(directory / _MODEL)
    model = openvino.Model([whole.output(name) for name in outputs], whole.get_parameters(), whole.friendly_name)
    model.reshape([size, *(dimension.get_length() for dimension in model.input().partial_shape[1:])])
    return _Compiled(core.compile_model(model, "CPU", settings), size)


def _vectors(description: ModelDescription) -> Outputs:
    return tuple(name for name in description.output_shapes if name in VECTORS)


def _directory(options: EngineOptions) -> Path:
    if options.artifact is None:
        raise AssertionError("this engine loads what was prepared")
    return Path(options.artifact)


def _settings(precision: str, *, threads: int) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        # Told, since on processors that have bfloat16 the plugin would round to it.
        "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
    }
    if threads:
        # The process is pinned already; threads pinned one by one would not respect that.
        settings |= {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
    return settings
