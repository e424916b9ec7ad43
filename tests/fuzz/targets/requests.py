"""What requests ask for: the first byte chooses the kind of message, which follows."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

from google.protobuf.message import DecodeError
from tests.fuzz import samples
from tests.fuzz.target import Mutation, Target
from tests.fuzz.targets.images import decode

from nasfeat.v1 import feature_service_pb2 as pb
from nasfeat.v1 import image_pb2
from nasfeat_server.config import RequestLimits
from nasfeat_server.engine.fake import describe
from nasfeat_server.errors import InvalidImageError, InvalidRequestError
from nasfeat_server.network.spec import VARIANTS
from nasfeat_server.rpc import convert
from nasfeat_server.rpc.outputs import Selection, select

_MODEL = describe(VARIANTS["cifar"], "random:0")
_LIMITS = RequestLimits()


def _check(data: bytes) -> None:
    if data:
        with contextlib.suppress(DecodeError, InvalidRequestError):
            _CHECKS[data[0] % len(_CHECKS)](data[1:])


def _check_options(message: bytes) -> None:
    options = pb.StreamOptions.FromString(message)
    terms = convert.stream_terms(options, _MODEL, _LIMITS)
    _check_selection(terms.selection)
    assert 1 <= terms.window <= _LIMITS.max_window
    assert 1 <= terms.backlog <= terms.window
    assert 1 <= terms.frames_per_message <= terms.window
    assert terms.window == 1 or terms.window * terms.selection.nbytes <= _LIMITS.max_held_bytes
    assert terms.frame_deadline_s is None or terms.frame_deadline_s > 0
    granted = convert.granted_options(options, terms)
    assert convert.stream_terms(granted, _MODEL, _LIMITS).selection == terms.selection


def _check_extraction(message: bytes) -> None:
    request = pb.ExtractFeaturesRequest.FromString(message)
    _check_images(request.images)
    _check_selection(select(request.outputs, request.top_k, _MODEL, _LIMITS))


def _check_frames(message: bytes) -> None:
    request = pb.StreamFeaturesRequest.FromString(message)
    frames = [request.frame] if request.HasField("frame") else request.frames.frames
    _check_images([frame.image for frame in frames])


def _check_images(images: Sequence[image_pb2.Image]) -> None:
    for image in images[:4]:
        with contextlib.suppress(InvalidImageError):
            decode(convert.image_source(image), 0)


def _check_selection(selection: Selection) -> None:
    assert set(selection.asked) <= set(selection.computed) <= set(_MODEL.output_shapes)
    assert 0 < selection.nbytes <= _LIMITS.max_result_bytes


_CHECKS: tuple[Callable[[bytes], None], ...] = (_check_options, _check_extraction, _check_frames)


def _mutate(data: bytes, blindly: Mutation, largest: int, chance: int) -> bytes:
    return data[:1] + samples.mutate(data[1:], blindly, largest - 1, chance) if data else blindly(data, largest)


def _seeds() -> Iterator[bytes]:
    for kind, messages in enumerate((samples.options(), samples.extractions(), samples.stream_messages())):
        for message in messages:
            yield bytes((kind,)) + message.SerializeToString()


TARGET = Target(
    name="requests",
    what="options of streams, unary calls and frames: rpc/convert.py, rpc/outputs.py, and the images in them",
    open=lambda: contextlib.nullcontext(_check),
    seeds=_seeds,
    mutate=_mutate,
)
