"""Runs on a cluster, with its stages in this process: what is kept, and what another run makes of it."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest

from inline_stages import inline
from nasfeat_client import ClientConfig, ErrorReason, FrameError
from nasfeat_client.cli.cluster.conducting import Ended, Event, PartDone, Planned, Stages, conduct
from nasfeat_client.cli.cluster.failures import said
from nasfeat_client.cli.cluster.order import Engine, Order, Replicas, Servers
from nasfeat_client.cli.cluster.plan import Item
from nasfeat_client.cli.cluster.servers import ServersExtractor
from nasfeat_client.testing import FAKE_MODEL, FakeFeatureServer, Script, fake_outputs, fake_vector
from nasfeat_client.types import ModelIdentity

Run = Callable[..., list[Event]]

_COUNT = 10


@pytest.fixture
def run(threaded_server: FakeFeatureServer, tmp_path: Path) -> Run:
    """Run over ten pictures, the fourth of which is not there, in parts of three; gives the events."""
    (tmp_path / "in").mkdir()
    names = [str(tmp_path / f"in/{number}.jpg") for number in range(_COUNT)]
    for name in names:
        Path(name).write_bytes(name.encode())
    Path(names[3]).unlink()
    (tmp_path / "list.txt").write_text("\n".join(names))
    order = Order(
        sources=(str(tmp_path / "list.txt"),),
        output=str(tmp_path / "out"),
        outputs=(),
        by=Servers(targets=(threaded_server.target,), config=ClientConfig()),
        replicas=Replicas(),
        part_size=3,
        restart=False,
        version=version("nasfeat"),
    )

    def events(stages: Stages = inline, **changes: Any) -> list[Event]:
        return list(conduct(dataclasses.replace(order, **changes), stages, said))

    return events


def _ends_after(records: int) -> Stages:
    """Make stages that write all parts, and fail when so many records have been given: the others' are lost."""

    def stages(order: Order, parts: list[list[Item]], before: ModelIdentity | None) -> Iterator[bytes]:
        yield from list(inline(order, parts, before))[:records]
        raise ConnectionError("the cluster is gone")

    return stages


def _ended(events: Sequence[Event]) -> Ended:
    last = events[-1]
    assert isinstance(last, Ended)
    return last


def _check(tmp_path: Path, *, missing: Sequence[int] = (3,)) -> None:
    """Hold the table to what it must have: each picture once, the right vector, and the errors beside it."""
    table = pq.read_table(tmp_path / "out").sort_by("name")
    expected = [str(tmp_path / f"in/{number}.jpg") for number in range(_COUNT) if number not in missing]
    assert table["name"].to_pylist() == expected
    vectors = np.stack(table["features"].to_numpy())
    np.testing.assert_array_equal(vectors, [fake_vector(name.encode()) for name in expected])
    errors = [json.loads(line) for line in (tmp_path / "out/_errors.jsonl").read_text().splitlines()]
    names = [str(tmp_path / f"in/{number}.jpg") for number in missing]
    assert [error["name"] for error in errors] == names
    assert all(error["message"] == f"cannot read {error['name']}: there is no such file" for error in errors)


def test_a_run_writes_parts_and_says_how_it_goes(run: Run, tmp_path: Path) -> None:
    """Each part has its own file, the model's identity is in its metadata, and a failed picture is an error alone."""
    planned, *parts, ended = run()
    assert planned == Planned(total=_COUNT, done=0, failed=0)
    assert [part.pictures for part in parts if isinstance(part, PartDone)] == [3, 3, 3, 1]
    assert ended == Ended(stopped_by=None, errors_at=str(tmp_path / "out/_errors.jsonl"), model=_ended([ended]).model)
    _check(tmp_path)
    files = sorted((tmp_path / "out").glob("*.parquet"))
    assert len(files) == 4
    assert pq.read_schema(files[0]).metadata[b"nasfeat.weights_digest"] == b'"sha256:fake"'


@pytest.mark.parametrize("records", range(5))
def test_a_run_that_was_ended_is_gone_on_with(run: Run, tmp_path: Path, records: int) -> None:
    """Wherever it ended, no picture is twice in the table and none is missing; what has no record is made again."""
    assert _ended(run(_ends_after(records))).stopped_by == "ConnectionError: the cluster is gone"
    done = min(3 * records, _COUNT)
    # Other parts than before: those that were written and never counted must go.
    planned, *parts, ended = run(part_size=2)
    assert planned == Planned(total=_COUNT, done=done, failed=int(records > 1))
    assert sum(part.pictures for part in parts if isinstance(part, PartDone)) == _COUNT - done
    assert _ended([ended]).stopped_by is None
    _check(tmp_path)


def test_a_part_that_was_not_written_to_its_end_is_removed(run: Run, tmp_path: Path) -> None:
    """A node may die while it writes."""
    run()
    for name in (
        "part-00000000000000000000000000000000.parquet",
        ".part-00000000000000000000000000000000.parquet.x.tmp",
    ):
        (tmp_path / "out" / name).write_bytes(b"half")
    assert _ended(run()).stopped_by is None
    assert not [path for path in (tmp_path / "out").iterdir() if "part-0000" in path.name]
    _check(tmp_path)


def test_pictures_that_have_come_since_are_added(run: Run, tmp_path: Path) -> None:
    """The same command over a folder that grows does what is new alone."""
    names = (tmp_path / "list.txt").read_text().splitlines()
    (tmp_path / "list.txt").write_text("\n".join(names[4:]))
    run()
    (tmp_path / "list.txt").write_text("\n".join(names))
    planned, *parts, _ = run()
    assert planned == Planned(total=_COUNT, done=6, failed=0)
    assert [part.pictures for part in parts if isinstance(part, PartDone)] == [3, 1]
    _check(tmp_path)


def test_another_model_or_other_outputs_are_refused(
    run: Run, threaded_server: FakeFeatureServer, tmp_path: Path
) -> None:
    """Nothing that was there is touched; --restart begins anew."""
    run(_ends_after(2))
    kept = sorted((tmp_path / "out").rglob("part-*.json"))
    assert len(kept) == 2
    assert '{"outputs": []}, not {"outputs": ["Logits"]}' in str(_ended(run(outputs=("Logits",))).stopped_by)
    identity = dataclasses.replace(FAKE_MODEL.identity, weights_digest="sha256:other")
    threaded_server.model = dataclasses.replace(FAKE_MODEL, identity=identity)
    assert "the model is fake sha256:other" in str(_ended(run()).stopped_by)
    assert sorted((tmp_path / "out").rglob("part-*.json")) == kept
    planned, *_, ended = run(restart=True)
    assert planned == Planned(total=_COUNT, done=0, failed=0)
    assert (_ended([ended]).stopped_by, _ended([ended]).model) == (None, identity)
    _check(tmp_path)


def test_a_model_that_changes_on_the_way_ends_the_run(
    run: Run, threaded_server: FakeFeatureServer, tmp_path: Path
) -> None:
    """Actors that began later may see another version: its vectors do not come into the same table."""

    def stages(order: Order, parts: list[list[Item]], before: ModelIdentity | None) -> Iterator[bytes]:
        yield from inline(order, parts[:1], before)
        identity = dataclasses.replace(FAKE_MODEL.identity, weights_digest="sha256:other")
        threaded_server.model = dataclasses.replace(FAKE_MODEL, identity=identity)
        yield from inline(order, parts[1:], before)

    *parts, ended = run(stages)
    assert "sha256:other" in str(_ended([ended]).stopped_by)
    assert len(parts) == 2


def test_of_two_runs_the_later_one_goes_on(run: Run, tmp_path: Path) -> None:
    """The earlier one, which may be one that nobody could stop, finds out before it lets another part count."""

    def stages(order: Order, parts: list[list[Item]], before: ModelIdentity | None) -> Iterator[bytes]:
        records = inline(order, parts, before)
        yield next(records)
        assert _ended(run()).stopped_by is None
        yield from records

    assert str(_ended(run(stages)).stopped_by).endswith("out: this one ends")
    _check(tmp_path)


def test_a_folder_that_is_no_table_is_left_alone(run: Run, tmp_path: Path) -> None:
    """The message names what is there."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.docx").touch()
    assert str(_ended(run(restart=True)).stopped_by).endswith("other files in it: " + str(tmp_path / "out/thesis.docx"))
    (tmp_path / "file").touch()
    assert "is a file; with --on the output is a folder" in str(_ended(run(output=str(tmp_path / "file"))).stopped_by)


def test_a_node_that_writes_elsewhere_ends_the_run(run: Run, tmp_path: Path) -> None:
    """A folder on the node's own disk is nowhere for the others."""

    def stages(order: Order, parts: list[list[Item]], before: ModelIdentity | None) -> Iterator[bytes]:
        yield from inline(dataclasses.replace(order, output=str(tmp_path / "elsewhere")), parts, before)

    assert "it is not there for others: the output must be in an object store" in str(_ended(run(stages)).stopped_by)


def test_outputs_are_columns_of_their_names(run: Run, tmp_path: Path) -> None:
    """As in the tables of the command alone; of a map the shape is in the metadata."""
    run(outputs=("Logits", "Cell_0"))
    table = pq.read_table(tmp_path / "out").sort_by("name")
    assert table.column_names == ["name", "Logits", "Cell_0"]
    expected = fake_outputs(table["name"][0].as_py().encode())
    np.testing.assert_array_equal(table["Cell_0"][0].values.to_numpy().reshape(2, 3, 4), expected["Cell_0"])
    np.testing.assert_array_equal(table["Logits"][0].values.to_numpy(), expected["Logits"])


def test_no_pictures_and_another_version_are_told(run: Run, tmp_path: Path) -> None:
    """Both end the run before anything is written."""
    (tmp_path / "list.txt").write_text("\n")
    assert _ended(run()).stopped_by == "there are no pictures"
    (tmp_path / "list.txt").write_text(str(tmp_path / "in/0.jpg"))
    assert str(_ended(run(version="0.0.0")).stopped_by).endswith("this is 0.0.0: they must be the same")


def test_engines_are_found_by_their_name(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's package takes what the client's has for it, and no import says so."""
    for name in ("TF_CPP_MIN_LOG_LEVEL", "CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS"):
        # What the engine sets for its process, is put back.
        monkeypatch.setenv(name, "")
    PIL.Image.new("RGB", (32, 32)).save(tmp_path / "in/0.jpg")
    engine = Engine(weights="random:0", variant="cifar", engine="fake", crop="stretch", max_batch_size=4)
    ended = _ended(run(by=engine))
    assert ended.stopped_by is None
    assert ended.model is not None
    assert ended.model.name == "fake_nasnet_cifar"
    assert pq.read_table(tmp_path / "out")["name"].to_pylist() == [str(tmp_path / "in/0.jpg")]


def test_what_servers_could_not_do_is_tried_again(threaded_server: FakeFeatureServer) -> None:
    """Such failures are not the pictures': they are sent again, alone, and the run ends if that does not help."""
    lost = FrameError(reason=ErrorReason.REPLICA_LOST, message="no replica has been up for 60 s")
    bad = FrameError(reason=ErrorReason.INVALID_IMAGE, message="not an image")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            threaded_server.script = Script()

    threaded_server.script = Script(failures={0: lost, 1: bad})
    servers = Servers(targets=(threaded_server.target,), config=ClientConfig())
    extractor = ServersExtractor(servers, ("global_pool",), pause=pause)
    first, second, third = extractor.extract([b"1", b"2", b"3"])
    assert pauses == [2.0, 4.0]
    assert second == ("INVALID_IMAGE", "not an image")
    for outcome, image in ((first, b"1"), (third, b"3")):
        assert not isinstance(outcome, tuple)
        np.testing.assert_array_equal(outcome["global_pool"], fake_vector(image))

    pauses += [0.0, 0.0]
    threaded_server.script = Script(failures={0: lost})
    with pytest.raises(click.ClickException, match="the servers failed 1 images 4 times, the last one: no replica"):
        extractor.extract([b"1"])
    extractor.close()
