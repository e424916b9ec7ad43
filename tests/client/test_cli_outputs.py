"""`nasfeat classify`, and `nasfeat extract` with other outputs than the feature vector."""

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from nasfeat_client import ErrorReason, FrameError, ModelIdentity, UnexpectedReplyError
from nasfeat_client.cli.tables.npz import npz_table
from nasfeat_client.cli.tables.row import Row
from nasfeat_client.result import Array
from nasfeat_client.testing import FAKE_MODEL, FakeFeatureServer, Script, fake_classes, fake_outputs, fake_vector

Nasfeat = Callable[..., tuple[int, str, str]]


def test_classify_prints_a_table(nasfeat: Nasfeat) -> None:
    """A block for each photo, with as many classes as asked for, the most probable first."""
    code, out, err = nasfeat("classify", "b.jpg", "a.jpg", "--top-k", "2")
    assert (code, err) == (0, "")
    rows = [re.split(r" *│ *", line)[1:-1] for line in out.splitlines() if line.startswith("│")]
    expected = [
        [name if rank == 0 else "", str(found.class_index), found.label, f"{found.probability:.4f}"]
        for name in ("b.jpg", "a.jpg")
        for rank, found in enumerate(fake_classes(name[0].encode(), 2))
    ]
    assert rows == expected


def test_a_photo_that_cannot_be_classified_fails_alone(nasfeat: Nasfeat) -> None:
    """It is named on stderr, the others are in the table, and the exit code is 1."""
    code, out, err = nasfeat("classify", "a.jpg", "none.jpg", "c.jpg")
    assert code == 1
    assert err == "none.jpg: cannot read none.jpg: No such file or directory\n"
    assert "a.jpg" in out
    assert "c.jpg" in out
    assert "none.jpg" not in out
    code, out, _ = nasfeat("classify", "none.jpg")
    assert (code, out) == (1, "")


def test_classify_as_json_is_one_document(nasfeat: Nasfeat, threaded_server: FakeFeatureServer) -> None:
    """It has each photo's classes, five unless told otherwise, and says what `extract --json` says of the run."""
    threaded_server.script = Script(failures={1: FrameError(reason=ErrorReason.INVALID_IMAGE, message="no picture")})
    code, out, _ = nasfeat("classify", "a.jpg", "b.jpg", "c.jpg", "--json")
    assert code == 1
    document = json.loads(out)
    assert document["results"] == [
        {"name": name, "classes": [dataclasses.asdict(found) for found in fake_classes(name[0].encode(), 5)]}
        for name in ("a.jpg", "c.jpg")
    ]
    assert (document["images"], document["succeeded"], document["failed"]) == (3, 2, 1)
    assert document["errors"] == [{"name": "b.jpg", "reason": "INVALID_IMAGE", "message": "no picture"}]
    assert document["identity"] == dataclasses.asdict(FAKE_MODEL.identity)
    own = {"output", "done_before", "failed_before"}
    assert document.keys() - {"results"} == json.loads(nasfeat("extract", "a.jpg", "--json")[1]).keys() - own


def test_weights_without_a_classifier_say_so(nasfeat: Nasfeat, threaded_server: FakeFeatureServer) -> None:
    """The server's words are on stderr, nothing on stdout."""
    threaded_server.model = dataclasses.replace(FAKE_MODEL, outputs=("global_pool",), output_shapes={}, labels=())
    code, out, err = nasfeat("classify", "a.jpg")
    assert (code, out) == (1, "")
    assert err == f"Error: {threaded_server.target}: these weights have no classifier: top_k must be 0\n"


def test_file_names_are_no_markup(nasfeat: Nasfeat) -> None:
    """Brackets in a name stay as they are."""
    Path("[red]a[/].jpg").parent.mkdir()
    Path("[red]a[/].jpg").write_bytes(b"a")
    code, out, _ = nasfeat("classify", "[red]a[/].jpg")
    assert code == 0
    assert "│ [red]a[/].jpg │" in out


def test_extract_writes_an_array_for_each_output(nasfeat: Nasfeat) -> None:
    """Under its own name, a map as [n, rows, columns, channels]; a signature's name is written as its output."""
    names = ("Cell_0", "Cell_0/mean", "image_classification")
    options = [part for name in names for part in ("--outputs", name)]
    code, out, _ = nasfeat("extract", "b.jpg", "none.jpg", "a.jpg", "-o", "features.npz", *options)
    assert code == 1
    assert out.startswith("2 extracted, 1 failed in ")
    with np.load("features.npz") as file:
        for name in ("Cell_0", "Cell_0/mean", "Logits"):
            expected = np.stack([fake_outputs(photo)[name] for photo in (b"b", b"a")])
            np.testing.assert_array_equal(file[name], expected, strict=True)
        assert file["name"].tolist() == ["b.jpg", "a.jpg"]
        assert not {"features", "global_pool", "image_classification"} & set(file)


def test_the_feature_vector_has_its_own_name_among_outputs(nasfeat: Nasfeat) -> None:
    """Asked for by name, it is `global_pool` and no longer `features`."""
    code, _, _ = nasfeat("extract", "a.jpg", "-o", "features.npz", "--outputs", "global_pool")
    assert code == 0
    with np.load("features.npz") as file:
        np.testing.assert_array_equal(file["global_pool"], [fake_vector(b"a")])
        assert "features" not in file


def test_an_unknown_output_is_refused_with_those_there_are(nasfeat: Nasfeat) -> None:
    """Nothing is written."""
    code, out, err = nasfeat("extract", "a.jpg", "--outputs", "Cell_9")
    assert code == 1
    assert out.endswith("wrote nothing\n")
    assert "no output 'Cell_9': these weights give global_pool, Logits, Predictions, Cell_0, Cell_0/mean" in err
    assert not list(Path().glob("features*"))


def test_rows_must_be_alike(tmp_path: Path) -> None:
    """Another shape, or another output, than those of the images before is an error; the rows before stay good."""

    def row(arrays: Mapping[str, Array]) -> Row:
        return Row(cells={}, arrays=arrays, identity=FAKE_MODEL.identity)

    first: Mapping[str, Array] = {"a": np.ones((2, 3), np.float32)}
    with npz_table(tmp_path / "some.npz") as table:
        table.add(row(first))
        for other in ({"a": np.ones((3, 2), np.float32)}, {"b": np.ones((2, 3), np.float32)}, {}):
            with pytest.raises(UnexpectedReplyError, match=r"the ones before with \{'a': \(2, 3\)\}"):
                table.add(row(other))
        table.add(row(first))
        table.finish()
    with np.load(tmp_path / "some.npz") as written:
        assert written["a"].shape == (2, 2, 3)
        fields = {field.name for field in dataclasses.fields(ModelIdentity)} - {"name"}
        assert set(written) == {"a", "model"} | fields
    assert [path.name for path in tmp_path.iterdir()] == ["some.npz"]


def test_what_fitted_on_a_full_disk_is_kept(nasfeat: Nasfeat, tmp_path: Path) -> None:
    """The run ends with the reason, and the images before are written."""
    # One row of 16128 bytes fits below the limit with all that stands beside it, two do not.
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (25000, 25000))"
    program = f"{limited}; from nasfeat_client.cli import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", program, "extract", "a.jpg", "b.jpg", "-o", "features.npz"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "Error: cannot write features.npz: File too large\n"
    assert done.stdout.startswith("1 extracted in ")
    with np.load("features.npz") as file:
        np.testing.assert_array_equal(file["features"], [fake_vector(b"a")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "b.jpg", "c.jpg", "features.npz"]
