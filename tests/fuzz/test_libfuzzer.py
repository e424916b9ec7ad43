"""What is read of libFuzzer's own report."""

from tests.fuzz.libfuzzer import read

_DONE = """\
INFO: Running with entropic power schedule (0xFF, 100).
#65\tINITED cov: 120 ft: 310 corp: 40/9Kb exec/s: 0 rss: 80Mb
#800\tNEW    cov: 131 ft: 330 corp: 44/9Kb lim: 90 exec/s: 400 rss: 83Mb L: 9/90 MS: 1 ChangeBit-
#900\tDONE   cov: 131 ft: 331 corp: 44/9Kb lim: 90 exec/s: 450 rss: 83Mb
Done 900 runs in 2 second(s)
stat::number_of_executed_units: 900
stat::average_exec_per_sec:     450
stat::new_units_added:          7
stat::slowest_unit_time_sec:    0
stat::peak_rss_mb:              83
"""
_BROKEN = """\
#65\tINITED cov: 120 ft: 310 corp: 40/9Kb exec/s: 0 rss: 80Mb

 === Uncaught Python exception: ===
OverflowError: int too large to convert to float
Traceback (most recent call last):
==7== ERROR: libFuzzer: fuzz target exited
artifact_prefix='/x/'; Test unit written to /x/crash-0123
stat::number_of_executed_units: 70
"""
_HUNG = """\
ALARM: working on the last Unit for 11 seconds
artifact_prefix='/x/'; Test unit written to /x/timeout-0123
==7== ERROR: libFuzzer: timeout after 11 seconds
"""


def test_a_run_that_found_nothing() -> None:
    """Inputs, time, edges, what is new and memory; nothing broke."""
    result = read("tokens", _DONE, status=0, seconds=9.5)
    assert (result.inputs, result.seconds, result.edges, result.found, result.peak_mib) == (900, 2.0, 131, 7, 83)
    assert not result.failed


def test_a_run_that_broke_something() -> None:
    """What it was and where its input is; the time is that of the process, since libFuzzer tells none."""
    result = read("tokens", _BROKEN, status=77, seconds=9.5)
    assert result.crashes == ("OverflowError: int too large to convert to float (/x/crash-0123)",)
    assert (result.inputs, result.seconds, result.hangs) == (70, 9.5, ())


def test_a_run_that_hung() -> None:
    """It counts apart from what broke."""
    result = read("tokens", _HUNG, status=70, seconds=9.5)
    assert len(result.hangs) == 1
    assert "timeout-0123" in result.hangs[0]
    assert not result.crashes


def test_a_harness_that_did_not_start() -> None:
    """It is no success."""
    assert read("tokens", "ModuleNotFoundError", status=1, seconds=1.0).crashes == ("the harness ended with 1",)
