"""What a request asks for, and the message that answers it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from nasfeat.inference.v2 import inference_pb2
from nasfeat.v1 import feature_service_pb2
from nasfeat_server.config import RequestLimits
from nasfeat_server.engine.interface import ModelDescription
from nasfeat_server.errors import InvalidImageError, InvalidRequestError
from nasfeat_server.facades.open_inference_models import HIGH, LOW, NORMAL, OUTPUT
from nasfeat_server.facades.open_inference_receive import Received
from nasfeat_server.facades.open_inference_tensors import Images, images
from nasfeat_server.network.outputs import FEATURE_VECTOR
from nasfeat_server.rpc.catalog import Served
from nasfeat_server.rpc.job import FrameJob
from nasfeat_server.rpc.outputs import Selection, select
from nasfeat_server.rpc.unary import check_count

Priority: TypeAlias = feature_service_pb2.Priority.ValueType
Parameters = Mapping[str, inference_pb2.InferParameter]

_Request = inference_pb2.ModelInferRequest
_Response = inference_pb2.ModelInferResponse
_PRIORITIES: Mapping[int, Priority] = {
    HIGH: feature_service_pb2.PRIORITY_HIGH,
    NORMAL: feature_service_pb2.PRIORITY_NORMAL,
    LOW: feature_service_pb2.PRIORITY_LOW,
}
# A client that asks for everything about every stage would be answered with a message that nobody wants to parse.
_MOST_OUTPUTS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One output of a request.

    Attributes:
        name: as it was asked for.
        own: as the network has it.
        classes: how many of its largest values are named in its stead; 0 for the output itself.
    """

    name: str
    own: str
    classes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A request that can be carried out.

    Attributes:
        request_id: the client's, given back.
        model: what it called the model.
        served: the version that it gets.
        outputs: what it is answered with.
        selection: what is computed for that.
        images: of which.
        priority: its share of the devices.
        timeout_s: after which it is given up; None for never.
        sequence: what it belongs to; "" for nothing.
    """

    request_id: str
    model: str
    served: Served
    outputs: tuple[Asked, ...]
    selection: Selection
    images: Images
    priority: Priority
    timeout_s: float | None
    sequence: str


def read(received: Received, served: Served, limits: RequestLimits) -> Order:
    """Make out what a request wants of `served`.

    Raises:
        InvalidRequestError: names the input, output or parameter that is wrong, and what is allowed.
    """
    request, description = received.request, served.description
    outputs = tuple(_asked(request.outputs))
    selection = select(list(dict.fromkeys(output.own for output in outputs)), 0, description, limits)
    _check_classes(outputs, description)

    def check(count: int) -> None:
        check_count(count, selection, limits)

    found = images(received, description.image_height, description.image_width, check)
    parameters = request.parameters
    return Order(
        request_id=request.id,
        model=request.model_name,
        served=served,
        outputs=outputs,
        selection=selection,
        images=found,
        priority=_PRIORITIES.get(_whole(parameters, "priority"), feature_service_pb2.PRIORITY_NORMAL),
        timeout_s=_whole(parameters, "timeout") / 1e6 or None,
        sequence=_sequence(parameters),
    )


def _asked(wanted: Sequence[_Request.InferRequestedOutputTensor]) -> Sequence[Asked]:
    if not wanted:
        return (Asked(name=OUTPUT, own=FEATURE_VECTOR, classes=0),)
    if len(wanted) > _MOST_OUTPUTS:
        raise InvalidRequestError(f"{len(wanted)} outputs are asked for; a request has at most {_MOST_OUTPUTS}")
    names = [output.name for output in wanted]
    if twice := next((name for index, name in enumerate(names) if name in names[:index]), None):
        raise InvalidRequestError(f"output {twice[:80]!r} is asked for twice")
    return [_output(output) for output in wanted]


def _output(wanted: _Request.InferRequestedOutputTensor) -> Asked:
    if "shared_memory_region" in wanted.parameters:
        raise InvalidRequestError(
            f"output {wanted.name[:80]!r} is wanted in shared memory, which this server does not write"
        )
    own = FEATURE_VECTOR if wanted.name == OUTPUT else wanted.name
    return Asked(name=wanted.name, own=own, classes=_whole(wanted.parameters, "classification"))


def _check_classes(outputs: Sequence[Asked], description: ModelDescription) -> None:
    for output in outputs:
        shape = description.output_shapes.get(output.own, ())
        if output.classes and len(shape) != 1:
            raise InvalidRequestError(
                f"output {output.name!r} has shape {list(shape)}; classification is of vectors alone"
            )


def _whole(parameters: Parameters, name: str) -> int:
    """Read a parameter that is a whole number, 0 or more; 0 if there is none."""
    # Asked for first, since a map makes what it is asked for.
    if name not in parameters:
        return 0
    kind, value = _value(parameters, name)
    if kind not in ("int64_param", "uint64_param") or value < 0:
        raise InvalidRequestError(f"parameter {name!r} is {_cut(value)}; it must be a whole number, 0 or more")
    return int(value)


def _sequence(parameters: Parameters) -> str:
    """Read what a request belongs to: the network keeps nothing between images, so that it is a name and no more."""
    for name in ("sequence_start", "sequence_end"):
        if name in parameters and _value(parameters, name)[0] != "bool_param":
            raise InvalidRequestError(f"parameter {name!r} is {_cut(_value(parameters, name)[1])}; it must be a bool")
    if "sequence_id" not in parameters:
        return ""
    kind, value = _value(parameters, "sequence_id")
    if kind not in ("int64_param", "uint64_param", "string_param"):
        raise InvalidRequestError(f"parameter 'sequence_id' is {_cut(value)}; it must be a whole number or a text")
    return _cut(value)


def _value(parameters: Parameters, name: str) -> tuple[str, Any]:
    parameter = parameters[name]
    kind = parameter.WhichOneof("parameter_choice") or ""
    return kind, getattr(parameter, kind) if kind else None


def _cut(value: object) -> str:
    # It goes to logs and statuses.
    return str(value)[:128]


def check(jobs: Sequence[FrameJob]) -> None:
    """Make the failure of an image that of the request: the protocol has no other way to tell it.

    Raises:
        NasfeatError: that of the first image that has one.
    """
    for index, job in enumerate(jobs):
        if isinstance(job.error, InvalidImageError) and len(jobs) > 1:
            raise InvalidImageError(f"image {index} of {len(jobs)}: {job.error}")
        if job.error:
            raise job.error


def response(order: Order, jobs: Sequence[FrameJob]) -> _Response:
    """Answer a request whose images have all been computed."""
    message = _Response(model_name=order.model, model_version=order.served.version, id=order.request_id)
    results = [job.results for job in jobs if job.results is not None]
    places = _places(order.selection)
    for output in order.outputs:
        place, shape = places[output.own]
        values = results[0][place] if len(results) == 1 else b"".join(result[place] for result in results)
        if output.classes:
            _add_classes(message, output, np.frombuffer(values, "<f4").reshape(len(jobs), -1), order.selection.labels)
        else:
            message.outputs.add(name=output.name, datatype="FP32", shape=(len(jobs), *shape))
            message.raw_output_contents.append(values)
    return message


def _places(selection: Selection) -> dict[str, tuple[slice, tuple[int, ...]]]:
    """Say where in the results of an image each output lies."""
    places, start = {}, 0
    for own, shape in zip(selection.computed, selection.shapes, strict=True):
        end = start + 4 * math.prod(shape)
        places[own] = slice(start, end), shape
        start = end
    return places


def _add_classes(message: _Response, output: Asked, values: "np.ndarray[Any, Any]", labels: Sequence[str]) -> None:
    """Name the largest values of each image as Triton does: BYTES [N, classes] of "value:index:label"."""
    count = min(output.classes, values.shape[1])
    largest = np.argsort(-values, axis=1, kind="stable")[:, :count]
    raw = b""
    for row, indices in zip(values, largest, strict=True):
        for index in indices.tolist():
            label = f":{labels[index]}" if len(labels) == values.shape[1] else ""
            text = f"{row[index]:f}:{index}{label}".encode()
            raw += len(text).to_bytes(4, "little") + text
    message.outputs.add(name=output.name, datatype="BYTES", shape=largest.shape)
    message.raw_output_contents.append(raw)
