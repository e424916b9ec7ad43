"""ModelInferRequest without copies: the elements of its tensors are read where gRPC left them.

As `rpc/payload.py` does for frames: raw contents are cut out of a large message before protobuf parses the rest.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from nasfeat.inference.v2 import inference_pb2
from nasfeat_server.rpc import wire

_Request = inference_pb2.ModelInferRequest
_RAW = _Request.DESCRIPTOR.fields_by_name["raw_input_contents"].number << 3 | wire.LENGTH

# One with more is odd, and looking at it would cost more than a copy.
_MOST_FIELDS = 64


class Received(NamedTuple):
    """A request.

    Attributes:
        request: the message; its `raw_input_contents` are not to be read.
        raw: those.
    """

    request: inference_pb2.ModelInferRequest
    raw: Sequence[bytes | memoryview]


def receive(message: bytes) -> Received:
    """Parse a request.

    Raises:
        DecodeError: it is none.
    """
    cut = _cut(message) if len(message) >= wire.LARGE else None
    if cut:
        return Received(_Request.FromString(cut[0]), cut[1])
    request = _Request.FromString(message)
    return Received(request, request.raw_input_contents)


def _cut(message: bytes) -> tuple[bytes, list[memoryview]] | None:
    """Give the message without raw contents, and those; None if it is not of the form that encoders write."""
    rest, raw = [], []
    view = memoryview(message)
    try:
        found = list(itertools.islice(wire.fields(message, 0, len(message)), _MOST_FIELDS + 1))
    except wire.MalformedError:
        return None
    if len(found) > _MOST_FIELDS:
        return None
    for began, tag, content, end in found:
        if tag == _RAW:
            raw.append(view[content:end])
        elif tag & 7 in (wire.GROUP, wire.GROUP_END):
            return None
        else:
            rest.append(message[began:end])
    return b"".join(rest), raw
