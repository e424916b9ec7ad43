"""Who makes room, by the stream's policy: every decision against a stream simulated frame by frame."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasfeat_server.scheduling.overload import OverloadPolicy, Verdict, Waiting, on_arrival, on_decoded

_EVENTS = st.lists(st.sampled_from(["arrive", "decode", "decoded", "pull"]), max_size=80)


class _Stream:
    """One stream whose frames are numbered as they come."""

    def __init__(self, policy: OverloadPolicy, backlog: int) -> None:
        self.policy = policy
        self.backlog = backlog
        self.undecoded: deque[int] = deque()
        self.decoding: deque[int] = deque()
        self.queued: deque[int] = deque()
        self.dropped: list[int] = []
        self.refused: list[int] = []
        self.computed: list[int] = []
        self.count = 0

    def waiting(self) -> Waiting:
        return Waiting(undecoded=len(self.undecoded), decoding=len(self.decoding), queued=len(self.queued))

    def arrive(self) -> None:
        number = self.count
        self.count += 1
        verdict = on_arrival(self.policy, self.waiting(), self.backlog)
        if verdict is Verdict.NEWCOMER:
            self.refused.append(number)
            return
        self._drop(verdict)
        self.undecoded.append(number)

    def decode(self) -> None:
        latest_only = self.policy is OverloadPolicy.LATEST_ONLY
        if self.undecoded and not (latest_only and self.decoding):
            self.decoding.append(self.undecoded.popleft())

    def decoded(self) -> None:
        if not self.decoding:
            return
        number = self.decoding.popleft()
        verdict = on_decoded(self.policy, self.waiting(), self.backlog)
        if verdict is Verdict.NEWCOMER:
            self.dropped.append(number)
            return
        self._drop(verdict)
        self.queued.append(number)

    def pull(self) -> None:
        if self.queued:
            self.computed.append(self.queued.popleft())

    def _drop(self, verdict: Verdict) -> None:
        if verdict is Verdict.OLDEST_UNDECODED:
            self.dropped.append(self.undecoded.popleft())
        elif verdict is Verdict.OLDEST_QUEUED:
            self.dropped.append(self.queued.popleft())


def _after(policy: OverloadPolicy, backlog: int, events: list[str]) -> _Stream:
    stream = _Stream(policy, backlog)
    for event in events:
        waiting = sorted([*stream.undecoded, *stream.queued])
        lost = len(stream.dropped)
        getattr(stream, event)()
        for number in stream.dropped[lost:]:
            stream_oldest = min([*waiting, number])
            assert policy is not OverloadPolicy.DROP_OLDEST or number == stream_oldest
    return stream


@pytest.mark.parametrize("policy", OverloadPolicy)
@given(events=_EVENTS, backlog=st.integers(1, 6))
def test_every_frame_ends_in_exactly_one_way(policy: OverloadPolicy, events: list[str], backlog: int) -> None:
    """Computed, dropped, refused or still waiting: no frame is lost and none counted twice, whatever the order."""
    stream = _after(policy, backlog, events)
    left = [*stream.undecoded, *stream.decoding, *stream.queued]
    assert sorted(left + stream.dropped + stream.refused + stream.computed) == list(range(stream.count))
    assert stream.computed == sorted(stream.computed)


@given(events=_EVENTS, backlog=st.integers(1, 6))
def test_drop_oldest_drops_the_oldest_and_keeps_its_backlog(events: list[str], backlog: int) -> None:
    """At no time do more than the backlog wait; what is dropped is the oldest that waits; nothing is refused."""
    stream = _Stream(OverloadPolicy.DROP_OLDEST, backlog)
    for event in events:
        getattr(stream, event)()
        assert len(stream.undecoded) + len(stream.queued) <= backlog
    assert not stream.refused
    _after(OverloadPolicy.DROP_OLDEST, backlog, events)


@given(events=_EVENTS)
def test_latest_only_keeps_the_newest(events: list[str]) -> None:
    """One frame waits for a device and one for the decoder, and each is the newest that could be there."""
    stream = _Stream(OverloadPolicy.LATEST_ONLY, 1)
    for event in events:
        getattr(stream, event)()
        assert len(stream.undecoded) <= 1
        assert len(stream.queued) <= 1
        assert all(number < min([*stream.undecoded, stream.count]) for number in stream.queued)
        if stream.undecoded:
            assert stream.undecoded[0] == stream.count - 1
        assert all(number < stream.count - 1 for number in stream.dropped)


@given(events=_EVENTS, backlog=st.integers(1, 6))
def test_reject_refuses_newcomers_and_nothing_else(events: list[str], backlog: int) -> None:
    """A frame is refused exactly when the backlog is full, and what was let in is never dropped."""
    stream = _Stream(OverloadPolicy.REJECT, backlog)
    for event in events:
        waiting = stream.waiting()
        full = waiting.undecoded + waiting.decoding + waiting.queued >= backlog
        before = len(stream.refused)
        getattr(stream, event)()
        assert (len(stream.refused) > before) == (event == "arrive" and full)
    assert not stream.dropped


@given(
    waiting=st.builds(Waiting, undecoded=st.integers(0, 9), decoding=st.integers(0, 9), queued=st.integers(0, 9)),
    backlog=st.integers(1, 6),
)
def test_a_blocking_stream_loses_nothing(waiting: Waiting, backlog: int) -> None:
    """BLOCK never names anybody."""
    assert on_arrival(OverloadPolicy.BLOCK, waiting, backlog) is Verdict.NOBODY
    assert on_decoded(OverloadPolicy.BLOCK, waiting, backlog) is Verdict.NOBODY


def test_a_source_faster_than_the_decoder_still_gets_frames_computed() -> None:
    """Three frames come while one is decoded: each decoded frame reaches the queue, none is given up half way."""
    stream = _Stream(OverloadPolicy.LATEST_ONLY, 1)
    for _ in range(10):
        for event in ("arrive", "arrive", "arrive", "decode", "decoded", "pull"):
            getattr(stream, event)()
    assert len(stream.computed) == 10
