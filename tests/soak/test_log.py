"""The server's log: what was foreseen passes, anything else is found."""

import pytest
from tests.soak.log import complaints

_AT = "2026-01-02 03:04:05,678"


@pytest.mark.parametrize(
    "line",
    [
        f"{_AT} ERROR   nasfeat_server.rpc.servicer: StreamFeatures failed",
        f"{_AT} ERROR   asyncio: Exception in callback",
        f"{_AT} ERROR   grpc._cython.cygrpc: Unexpected [KeyError] raised by servicer method",
        f"{_AT} ERROR   nasfeat_server.engine.fleet: something else",
        "Task exception was never retrieved",
        "RuntimeWarning: coroutine 'answer' was never awaited",
    ],
)
def test_errors_that_nobody_foresaw_are_found(line: str) -> None:
    """Each such line is given, the others of the log are not."""
    log = "\n".join((f"{_AT} INFO    nasfeat_server.app: loading", line, "Traceback (most recent call last):"))
    assert complaints(log) == (line,)


def test_what_a_soak_does_to_a_server_may_stand_in_its_log() -> None:
    """Quarantine, a replica killed while it started, a caller gone before its answer: no complaint."""
    log = "\n".join(
        (
            f"{_AT} ERROR   nasfeat_server.engine.fleet: device cpu:1 is in quarantine for 5 s: its replicas died",
            f"{_AT} ERROR   nasfeat_server.engine.fleet: replica cpu:1 did not start: replica cpu:1 died",
            f"{_AT} ERROR   grpc._cython.cygrpc: ExecuteBatchError raised in core by servicer method [/nasfeat]",
            f"{_AT} WARNING nasfeat_server.engine.replica: replica cpu:0 failed on a batch of 1: ValueError",
        )
    )
    assert complaints(log) == ()
