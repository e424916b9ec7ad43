"""PredictRequest without copies: the values of a tensor are read where gRPC left them.

As `rpc/payload.py` does for streams: of a message that is of the form that encoders write the values are cut out before
protobuf parses the rest; every other message is protobuf's alone.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from google.protobuf.descriptor import Descriptor

from nasfeat.tfserving.v1 import serving_pb2, tensor_pb2
from nasfeat_server.rpc import wire

_Request = serving_pb2.PredictRequest


def _tag(descriptor: Descriptor, name: str) -> int:
    return descriptor.fields_by_name[name].number << 3 | wire.LENGTH


_INPUT = _tag(_Request.DESCRIPTOR, "inputs")
_TENSOR = _tag(_Request.DESCRIPTOR.nested_types_by_name["InputsEntry"], "value")
_VALUES = {_tag(tensor_pb2.Tensor.DESCRIPTOR, name): name for name in ("tensor_content", "float_val", "int_val")}

# Of a message, of an input and of a tensor: one with more is odd.
_MOST_FIELDS = 64


class Received(NamedTuple):
    """A request.

    Attributes:
        request: the message; without the values that were cut out.
        values: those of its one input, by the names of their fields; empty if nothing was cut out.
    """

    request: serving_pb2.PredictRequest
    values: Mapping[str, memoryview]


def receive(message: bytes) -> Received:
    """Parse a request.

    Raises:
        DecodeError: it is none.
    """
    cut = _cut(message) if len(message) >= wire.LARGE else None
    rest, values = cut or (message, {})
    return Received(_Request.FromString(rest), values)


class _OddFormError(Exception):
    """Encoders do not write this, though it may be right."""


def _cut(message: bytes) -> tuple[bytes, dict[str, memoryview]] | None:
    """Give the message without the values of its one input, and those; None if it is not of the usual form."""
    try:
        around_input, found = _split(message, 0, len(message), (_INPUT,))
        around_tensor, found = _split(message, *found[_INPUT], (_TENSOR,))
        around_values, found = _split(message, *found[_TENSOR], _VALUES)
    except (KeyError, wire.MalformedError, _OddFormError):
        return None
    rest = around_input + _field(_INPUT, around_tensor + _field(_TENSOR, around_values))
    view = memoryview(message)
    return rest, {_VALUES[tag]: view[slice(*span)] for tag, span in found.items()}


def _split(message: bytes, start: int, end: int, wanted: Collection[int]) -> tuple[bytes, dict[int, tuple[int, int]]]:
    """Give the fields between two places of `message` whose tags are not `wanted`, and where the others' contents are.

    Raises:
        _OddFormError: there are very many, or two of one that is wanted, or something strange.
        MalformedError: what is there are no fields.
    """
    rest = []
    found: dict[int, tuple[int, int]] = {}
    for number, (began, tag, content, content_end) in enumerate(wire.fields(message, start, end)):
        if number >= _MOST_FIELDS or tag & 7 in (wire.GROUP, wire.GROUP_END) or tag in found:
            raise _OddFormError
        if tag in wanted:
            found[tag] = content, content_end
        else:
            rest.append(message[began:content_end])
    return b"".join(rest), found


def _field(tag: int, content: bytes) -> bytes:
    return bytes((tag,)) + wire.varint_of(len(content)) + content
