"""The waiting frames against a simple model, in any order of events; time is a number that the test chooses."""

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nasfeat_server.scheduling import policy
from nasfeat_server.scheduling.lanes import Lanes


@dataclass(eq=False, slots=True, kw_only=True)
class Frame:
    """A frame of the model."""

    lane: int
    deadline: float | None


class LanesMachine(RuleBasedStateMachine):
    """Every frame is in the model exactly as long as it is in the lanes."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes: Lanes[Frame] = Lanes()
        self.model: dict[int, list[Frame]] = {}
        self.live: set[int] = set()
        self.relative: dict[int, float | None] = {}
        self.now = 0.0
        self.taken: list[Frame] = []

    @rule(
        weight=st.sampled_from([0.25, 1.0, 4.0]),
        live=st.booleans(),
        deadline_s=st.one_of(st.none(), st.floats(0.1, 10)),
    )
    def open(self, weight: float, live: bool, deadline_s: float | None) -> None:
        """A stream opens."""
        lane = self.lanes.open(weight, live=live)
        self.model[lane] = []
        self.relative[lane] = deadline_s
        if live:
            self.live.add(lane)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), wait_s=st.floats(0, 2))
    def push(self, data: st.DataObject, wait_s: float) -> None:
        """A frame comes."""
        self.now += wait_s
        lane = data.draw(st.sampled_from(sorted(self.model)))
        relative = self.relative[lane]
        frame = Frame(lane=lane, deadline=None if relative is None else self.now + relative)
        self.lanes.push(frame)
        self.model[lane].append(frame)

    @precondition(lambda self: any(self.model.values()))
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """A frame is withdrawn, once."""
        frame = data.draw(st.sampled_from([frame for frames in self.model.values() for frame in frames]))
        assert self.lanes.remove(frame)
        assert not self.lanes.remove(frame)
        self.model[frame.lane].remove(frame)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def close_empty(self, data: st.DataObject) -> None:
        """A stream without frames ends."""
        empty = [lane for lane, frames in self.model.items() if not frames]
        if empty:
            lane = data.draw(st.sampled_from(empty))
            self.lanes.close(lane)
            del self.model[lane]

    @rule(after_s=st.floats(0, 5))
    def take_hopeless(self, after_s: float) -> None:
        """Exactly the frames whose deadline is before the time leave, the tightest first."""
        until = self.now + after_s
        hopeless = self.lanes.take_hopeless(until)
        expected = [
            frame for frames in self.model.values() for frame in frames if frame.deadline and frame.deadline < until
        ]
        assert sorted(map(id, hopeless)) == sorted(map(id, expected))
        deadlines = [frame.deadline or 0 for frame in hopeless]
        assert deadlines == sorted(deadlines)
        for frame in hopeless:
            self.model[frame.lane].remove(frame)

    @rule(size=st.integers(1, 8), patient_only=st.booleans(), urgent_s=st.floats(0, 5), done_s=st.floats(0, 2))
    def take(self, size: int, patient_only: bool, urgent_s: float, done_s: float) -> None:
        """A batch is full if enough frames may go; each stream gives its oldest; nobody else's is touched."""
        done_at = self.now + min(done_s, urgent_s)
        frames = self.lanes.take(size, done_at=done_at, urgent_before=self.now + urgent_s)
        allowed = {
            lane
            for lane, waiting in self.model.items()
            if waiting and (waiting[0].deadline is None or waiting[0].deadline >= done_at)
        }
        assert {frame.lane for frame in frames} <= allowed
        assert len(frames) == min(size, sum(len(self.model[lane]) for lane in allowed))
        for frame in frames:
            assert self.model[frame.lane].pop(0) is frame
        self.taken = frames

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def take_and_put_back(self, data: st.DataObject) -> None:
        """The last frames of a batch go back to where they were."""
        count = data.draw(st.integers(1, 4))
        frames = self.lanes.take(count)
        self.lanes.put_back(frames)
        self.taken = []

    @invariant()
    def depths_are_exact(self) -> None:
        """The counts are those of the model, by stream and in all."""
        assert self.lanes.depth == sum(map(len, self.model.values()))
        assert self.lanes.live_depth == sum(len(frames) for lane, frames in self.model.items() if lane in self.live)
        for lane, frames in self.model.items():
            assert self.lanes.waiting_in(lane) == len(frames)
            if frames:
                assert self.lanes.oldest(lane) is frames[0]

    @invariant()
    def the_tightest_deadline_is_known(self) -> None:
        """It is the earliest of all waiting frames."""
        deadlines = [frame.deadline for frames in self.model.values() for frame in frames if frame.deadline is not None]
        assert self.lanes.tightest() == min(deadlines, default=None)

    @invariant()
    def every_waiting_stream_has_one_turn(self) -> None:
        """The shares name each stream that waits once."""
        assert sorted(count for count, _ in self.lanes.shares()) == sorted(
            len(frames) for frames in self.model.values() if frames
        )


LanesMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLanes = LanesMachine.TestCase


def _lane(lanes: Lanes[Frame], count: int, deadline: float | None = None, weight: float = 1.0) -> int:
    lane = lanes.open(weight)
    for _ in range(count):
        lanes.push(Frame(lane=lane, deadline=deadline))
    return lane


def test_an_urgent_frame_goes_first_though_it_is_not_its_turn() -> None:
    """Behind twenty streams, a frame that would be late in the batch after is in this one."""
    lanes: Lanes[Frame] = Lanes()
    for _ in range(20):
        _lane(lanes, 5)
    urgent = _lane(lanes, 1, deadline=1.0)
    assert next(frame.lane for frame in lanes.take(4, urgent_before=1.5)) == urgent


def test_a_stream_of_urgent_frames_borrows_no_more_than_a_frame() -> None:
    """A flood with deadlines is served ahead of its turn once, and then pays it back: weights decide how much."""
    lanes: Lanes[Frame] = Lanes()
    quiet = [_lane(lanes, 50) for _ in range(3)]
    flood = _lane(lanes, 200, deadline=1.0)
    served = [frame.lane for _ in range(40) for frame in lanes.take(4, urgent_before=2.0)]
    assert served.count(flood) <= 160 / 4 + policy.MOST_BORROWED
    assert all(served.count(lane) >= 39 for lane in quiet)


def test_what_a_slow_replica_cannot_do_in_time_is_left_to_a_faster_one() -> None:
    """A stream whose next frame would be late in this batch keeps it; the others fill the batch."""
    lanes: Lanes[Frame] = Lanes()
    tight = _lane(lanes, 2, deadline=1.0)
    other = _lane(lanes, 2)
    assert [frame.lane for frame in lanes.take(4, done_at=2.0, urgent_before=3.0)] == [other, other]
    assert lanes.waiting_in(tight) == 2
