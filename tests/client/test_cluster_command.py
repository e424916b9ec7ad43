"""`nasfeat extract --on`, as far as no cluster is needed."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inline_stages import inline
from nasfeat_client.cli.cluster import job
from nasfeat_client.cli.cluster.conducting import Ended, Event, conduct
from nasfeat_client.cli.cluster.failures import said
from nasfeat_client.cli.cluster.order import Engine, Order, Servers
from nasfeat_client.testing import FakeFeatureServer

Nasfeat = Callable[..., tuple[int, str, str]]


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Order]]:
    """Keep the addresses and orders that would go to a cluster, which ends every run at once."""
    seen: list[tuple[str, Order]] = []

    def events(address: str, order: Order) -> Iterator[Event]:
        seen.append((address, order))
        yield Ended(stopped_by=None)

    monkeypatch.setattr(job, "_events", events)
    return seen


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Carry out in this process what would go to a cluster."""
    monkeypatch.setattr(job, "_events", lambda _, order: conduct(order, inline, said))


def test_the_extra_is_named_where_it_is_missing(nasfeat: Nasfeat, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line, as for other extras."""
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "nasfeat_client.cli.cluster.on_ray", raising=False)
    code, _, err = nasfeat("extract", "a.jpg", "--on", "ray")
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("Error: --on needs the ray-data extra: pip install 'nasfeat[ray-data]' (")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--weights", "random:0"), "--weights is for clusters: say which one, with --on"),
        (("--quiet",), "--quiet is for clusters"),
        (("--on", "ray", "-t", "localhost:1", "--variant", "large"), "--variant is of engines on the nodes"),
        (("--on", "ray", "--batch-size", "3"), "Invalid value for '--batch-size'"),
        (("--on", "ray", "--format", "npz"), "the output is a folder of Parquet files, not npz"),
        (("--on", "ray", "-o", "-"), "the output is a folder of Parquet files, not stdout"),
        (("-o", "."), ". is a folder, not a file to write"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    nasfeat: Nasfeat, arguments: tuple[str, ...], message: str
) -> None:
    """Before anything is begun."""
    code, _, err = nasfeat("extract", "a.jpg", *arguments)
    assert code == 2
    assert message in err


def test_servers_are_asked_where_some_are_named(
    nasfeat: Nasfeat, orders: list[tuple[str, Order]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the command line or in the environment; settings of engines, or nothing at all, mean engines on the nodes."""
    nasfeat("extract", "a.jpg", "--on", "ray://head:10001", "-t", "one:1,two:2", "--model", "canary")
    nasfeat("extract", "a.jpg", "--on", "ray")
    nasfeat("extract", "a.jpg", "--on", "ray", "--batch-size", "8")
    monkeypatch.delenv("NASFEAT_TARGET")
    nasfeat("extract", "a.jpg", "--on", "ray")
    (address, first), *others = orders
    assert address == "ray://head:10001"
    assert isinstance(first.by, Servers)
    assert (first.by.targets, first.by.config.model) == (("one:1", "two:2"), "canary")
    second, third, fourth = (order.by for _, order in others)
    assert isinstance(second, Servers)
    assert third == Engine(weights="published", variant=None, engine="auto", crop="stretch", max_batch_size=8)
    assert fourth == Engine(weights="published", variant=None, engine="auto", crop="stretch", max_batch_size=4)


def test_paths_are_made_whole_and_uris_are_kept(
    nasfeat: Nasfeat, orders: list[tuple[str, Order]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes have another working folder; lists are read here, since they may not see them."""
    Path("list.txt").write_text("b.jpg\ns3://bucket/c.jpg\n")
    nasfeat(
        "extract",
        "a.jpg",
        "s3://bucket/x?scheme=http",
        "list.txt",
        "s3://bucket/l.txt",
        "--on",
        "ray",
        "-o",
        "s3://out/t",
    )
    nasfeat("extract", "a.jpg", "--on", "ray", "-o", "here")
    (_, first), (_, second) = orders
    here = str(Path.cwd())
    assert first.sources == (f"{here}/a.jpg", "s3://bucket/x?scheme=http", "s3://bucket/l.txt")
    assert first.names == (f"{here}/b.jpg", "s3://bucket/c.jpg")
    assert (first.output, second.output) == ("s3://out/t", f"{here}/here")


@pytest.mark.usefixtures("whole")
def test_a_run_tells_its_outcome(nasfeat: Nasfeat) -> None:
    """As the command alone does, on stdout; what failed is told on stderr, and the exit code is 1."""
    code, out, err = nasfeat("extract", "a.jpg", "b.jpg", "none.jpg", "--on", "ray", "-o", "table")
    here = str(Path.cwd())
    assert code == 1
    assert err == f"{here}/none.jpg: cannot read {here}/none.jpg: there is no such file\n"
    assert out.startswith("2 extracted, 1 failed in ")
    assert out.endswith(f": wrote {here}/table, errors in {here}/table/_errors.jsonl\n")
    code, out, _ = nasfeat("extract", "a.jpg", "b.jpg", "c.jpg", "--on", "ray", "-o", "table", "--json")
    document = json.loads(out)
    assert code == 1
    assert (document["done_before"], document["failed_before"], document["succeeded"], document["failed"]) == (
        3,
        1,
        1,
        0,
    )
    assert (document["stopped_by"], document["identity"]["name"]) == (None, "fake")


@pytest.mark.usefixtures("whole")
def test_a_run_that_ends_early_says_what_is_kept(nasfeat: Nasfeat, threaded_server: FakeFeatureServer) -> None:
    """And that the same command goes on from there."""
    nasfeat("extract", "a.jpg", "--on", "ray", "-o", "table")
    code, out, err = nasfeat(
        "extract", "a.jpg", "b.jpg", "--on", "ray", "-o", "table", "-t", "127.0.0.1:1", "--timeout", "1"
    )
    assert code == 1
    assert out.endswith(": not complete\n")
    assert f"1 images are kept in {Path.cwd()}/table; the same command goes on from there" in err
