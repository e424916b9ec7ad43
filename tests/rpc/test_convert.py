"""What the wire's messages become."""

import pytest

from nasfeat.v1 import feature_service_pb2, image_pb2
from nasfeat_server.config import RequestLimits
from nasfeat_server.engine.fake import describe
from nasfeat_server.errors import InvalidImageError
from nasfeat_server.imaging.types import ColorMatrix, ColorRange, RawPixels
from nasfeat_server.network.spec import VARIANTS
from nasfeat_server.rpc.convert import image_source, stream_terms


def raw(**fields: int) -> image_pb2.Image:
    """An NV12 image of one block."""
    message = image_pb2.RawImage(data=bytes(6), pixel_format=image_pb2.PIXEL_FORMAT_NV12, height=2, width=2)
    for name, value in fields.items():
        setattr(message, name, value)
    return image_pb2.Image(raw=message)


@pytest.mark.parametrize(
    ("fields", "matrix", "steps"),
    [
        ({}, ColorMatrix.BT601, ColorRange.LIMITED),
        ({"color_matrix": image_pb2.COLOR_MATRIX_BT709}, ColorMatrix.BT709, ColorRange.LIMITED),
        ({"color_range": image_pb2.COLOR_RANGE_FULL}, ColorMatrix.BT601, ColorRange.FULL),
    ],
)
def test_colours_have_defaults(fields: dict[str, int], matrix: ColorMatrix, steps: ColorRange) -> None:
    """A client that says nothing means standard definition in limited range, as it always did."""
    source = image_source(raw(**fields))
    assert isinstance(source, RawPixels)
    assert (source.color_matrix, source.color_range) == (matrix, steps)


@pytest.mark.parametrize("name", ["color_matrix", "color_range"])
def test_unknown_colours_are_not_guessed(name: str) -> None:
    """A newer client's matrix is refused and not taken for another."""
    with pytest.raises(InvalidImageError, match="99 is unknown"):
        image_source(raw(**{name: 99}))


@pytest.mark.parametrize(("seconds", "nanos", "expected_s"), [(1, 500_000_000, 1.5), (2**62, 0, 2.0**62)])
def test_a_deadline_may_be_as_long_as_the_wire_can_say(seconds: int, nanos: int, expected_s: float) -> None:
    """One of more years than Python's own durations hold is no error of the server's."""
    options = feature_service_pb2.StreamOptions()
    options.frame_deadline.seconds, options.frame_deadline.nanos = seconds, nanos
    terms = stream_terms(options, describe(VARIANTS["cifar"], "random:0"), RequestLimits())
    assert terms.frame_deadline_s == expected_s
