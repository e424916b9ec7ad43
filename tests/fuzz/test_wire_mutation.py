"""Messages that are damaged with knowledge of what they are."""

from google.protobuf.message import DecodeError
from tests.fuzz import samples
from tests.fuzz.wire_mutation import drawing, mutated, read_fields, written

from nasfeat.v1 import feature_service_pb2

_MESSAGES = [message.SerializeToString() for message in (*samples.stream_messages(), *samples.extractions())]


def test_fields_are_written_as_they_were_read() -> None:
    """Every sample, to the byte."""
    for message in _MESSAGES:
        fields = read_fields(message)
        assert fields is not None
        assert written(fields) == message


def test_a_seed_decides_the_damage() -> None:
    """The same again, and hardly ever none: what broke something can be made anew from its seed."""
    damaged = {seed: mutated(_MESSAGES[3], drawing(seed), _MESSAGES) for seed in range(200)}
    assert damaged == {seed: mutated(_MESSAGES[3], drawing(seed), _MESSAGES) for seed in range(200)}
    assert len(set(damaged.values())) > 100


def test_much_of_what_is_damaged_can_be_read() -> None:
    """Else nothing behind the parser would be tried: a third or more, and not all."""
    readable = 0
    for seed in range(300):
        message = mutated(_MESSAGES[3], drawing(seed), _MESSAGES)
        try:
            feature_service_pb2.StreamFeaturesRequest.FromString(message)
        except DecodeError:
            continue
        readable += 1
    assert 100 < readable < 300
