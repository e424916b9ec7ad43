"""What is done is drawn from the seed, and is everything that it should be."""

from tests.soak.plan import Ending, blow, call_plan, drawing, stream_plan

from nasfeat.v1 import feature_service_pb2 as pb


def test_the_same_seed_draws_the_same() -> None:
    """Streams, calls and blows are a function of the seed; another seed draws others."""

    def drawn(seed: int) -> list[object]:
        draw = drawing(seed, "test")
        return [part for _ in range(20) for part in (stream_plan(draw), call_plan(draw), blow(draw, hang_s=4.0))]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_streams_of_every_kind_are_drawn() -> None:
    """All overload policies, priorities, orders and endings come up, with and without deadlines."""
    draw = drawing(0, "test")
    plans = [stream_plan(draw) for _ in range(200)]
    assert {plan.overload_policy for plan in plans} == {value for value in pb.OverloadPolicy.values() if value}
    assert {plan.priority for plan in plans} == {value for value in pb.Priority.values() if value}
    assert {plan.delivery_order for plan in plans} == {value for value in pb.DeliveryOrder.values() if value}
    assert {plan.ending for plan in plans} == set(Ending)
    assert {plan.deadline_s is None for plan in plans} == {True, False}
    assert {plan.frames_per_message > 1 for plan in plans} == {True, False}
    assert {plan.heeds_window for plan in plans} == {True, False}


def test_replicas_are_stopped_for_shorter_and_for_longer_than_the_server_bears() -> None:
    """Some stops end in time, others are found out as hanging."""
    draw = drawing(0, "test")
    stops = [blow(draw, hang_s=4.0).stopped_s for _ in range(50)]
    assert {stopped_s > 4.0 for stopped_s in stops} == {True, False}
