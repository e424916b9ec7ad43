"""What rounds are made into: medians, ratios, verdicts, tables."""

import json

import pytest
from peers.percentiles import percentile
from peers.readings import Cell, Reading, rows_of, verdicts_of
from peers.report import Findings, to_json, to_markdown
from peers.tables import grids_of, verdict_lines


def cell(peer: str, *, load: str = "raw", clients: int = 8, way: str = "stream") -> Cell:
    """Name a cell of the null model."""
    return Cell(model="null", load=load, clients=clients, way=way, peer=peer)


def reading(cpu_us: float) -> Reading:
    """Read a round in which an image took so much processor time."""
    return Reading(images=100, images_per_s=50, p50_ms=10, p99_ms=20, cpu_us=cpu_us, memory_mb=64)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    """The nearest rank is taken: nothing is made up between two values."""
    assert percentile([30, 10, 20], 0.5) == 20
    assert percentile(list(range(1, 101)), 0.99) == 99
    assert percentile([7], 0.99) == 7
    with pytest.raises(ValueError, match=r"no percentile 0\.5 of 0 values"):
        percentile([], 0.5)


def test_ratios_are_taken_within_rounds() -> None:
    """A machine that is slower in one round changes both figures of it, and so not their ratio."""
    rows = rows_of(
        {
            cell("nasfeat"): [reading(200), reading(600), reading(300)],
            cell("echo"): [reading(100), reading(300), reading(100)],
        }
    )
    found = {row.cell.peer: row for row in rows}
    assert found["nasfeat"].reading.cpu_us == 300
    assert found["nasfeat"].echo_ratio == 2
    assert found["echo"].echo_ratio == 1


def test_a_peer_that_failed_in_a_round_is_compared_by_medians() -> None:
    """Rounds that cannot be paired up are not paired up wrongly."""
    rows = rows_of({cell("ray"): [reading(800)], cell("echo"): [reading(100), reading(300), reading(200)]})
    assert next(row.echo_ratio for row in rows if row.cell.peer == "ray") == 4


def test_without_the_echo_there_is_no_ratio() -> None:
    """Callers and load must be the same as the echo's."""
    rows = rows_of({cell("ray", clients=1): [reading(800)], cell("echo"): [reading(100)]})
    assert [row.echo_ratio for row in rows] == [None, 1]


def test_verdicts_allow_more_beside_a_native_server_on_raw_pixels_alone() -> None:
    """Half as much again is allowed there; everywhere else nasfeat is to take less."""
    measured = {
        cell(peer, load=load): [reading(cpu_us)]
        for load in ("raw", "jpeg")
        for peer, cpu_us in (("nasfeat", 140), ("triton", 100), ("mosec", 200), ("echo", 10))
    }
    verdicts = {(one.cell.peer, one.cell.load): one for one in verdicts_of(rows_of(measured), "null")}
    assert {key: one.held for key, one in verdicts.items()} == {
        ("triton", "raw"): True,
        ("triton", "jpeg"): False,
        ("mosec", "raw"): True,
        ("mosec", "jpeg"): True,
    }
    assert verdict_lines(list(verdicts.values())) == [
        "Triton, Python backend: nasfeat takes 1.40 to 1.40 times its processor time; 1 of 2 cells within 1 and 1.5",
        "mosec: nasfeat takes 0.70 to 0.70 times its processor time; 2 of 2 cells within 1",
    ]


def test_tables_have_a_line_for_each_peer_and_way_and_leave_gaps() -> None:
    """Raw pixels come first, few callers before many, and what was not measured is empty."""
    measured = {
        cell("echo"): [reading(100)],
        cell("nasfeat"): [reading(250)],
        cell("nasfeat", clients=64): [reading(200)],
        cell("nasfeat", load="jpeg", clients=1, way="unary"): [reading(900)],
    }
    grid = grids_of(rows_of(measured), "null")[0]
    assert grid.headings == ("null", "raw, 8", "raw, 64", "jpeg, 1")
    assert grid.rows == (
        ("nasfeat, unary", "", "", "900"),
        ("bare grpc.aio echo, stream", "100 (1.0)", "", ""),
        ("nasfeat, stream", "250 (2.5)", "200", ""),
    )
    assert "| nasfeat, stream | 250 (2.5) | 200 |  |" in grid.for_markdown()


def test_what_is_missing_or_failed_is_in_every_report() -> None:
    """A peer that could not be installed is never dropped silently."""
    findings = Findings(machine={"cores": "2"}, versions={"": ["nasfeat==1"]}, options={"rounds": 1})
    findings.readings = {cell("nasfeat"): [reading(250), reading(150)]}
    findings.missing = {"triton": "it needs libpython3.11.so.1.0"}
    findings.failures = ["null, mosec, round 1: the server ended with 1"]
    findings.cold_starts_s = {("null", "nasfeat"): [3.0, 1.0, 2.0]}
    document = json.loads(to_json(findings))
    assert document["missing"] == findings.missing
    assert document["cells"][0]["median"]["cpu_us"] == 200
    assert [one["cpu_us"] for one in document["cells"][0]["rounds"]] == [250, 150]
    text = to_markdown(findings)
    assert "- missing: triton: it needs libpython3.11.so.1.0" in text
    assert "- failed: null, mosec, round 1: the server ended with 1" in text
    assert "| nasfeat | null | 2.0 | 64 |" in text
