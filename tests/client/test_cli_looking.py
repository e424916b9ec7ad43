"""`nasfeat similar`, `search` and `timeline`: what they find, and what they draw."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from nasfeat_client.cli.tables.formats import TableFormat, opened_table
from nasfeat_client.cli.tables.row import Row
from nasfeat_client.cli.vectors import FeatureTable, cosines, cuts_in
from nasfeat_client.testing import FAKE_MODEL, FakeFeatureServer, fake_vector

Nasfeat = Callable[..., tuple[int, str, str]]


def _cosine(one: bytes, other: bytes) -> float:
    a, b = (fake_vector(image).astype(np.float64) for image in (one, other))
    return float(a @ b / np.sqrt(a @ a * (b @ b)))


@pytest.fixture
def colours(nasfeat: Nasfeat) -> list[str]:
    """Write pictures of a colour each, and extract their features into features.parquet."""
    Path("in").mkdir()
    names = [f"in/{number:02}.png" for number in range(30)]
    for number, name in enumerate(names):
        Image.new("RGB", (20, 10), (8 * number, 0, 0)).save(name)
    assert nasfeat("extract", "in")[0] == 0
    return names


def test_similar_is_a_matrix_of_cosines(nasfeat: Nasfeat) -> None:
    """As a table for people, or as JSON."""
    code, out, _ = nasfeat("similar", "a.jpg", "b.jpg", "c.jpg", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["names"] == ["a.jpg", "b.jpg", "c.jpg"]
    expected = [[_cosine(one, other) for other in (b"a", b"b", b"c")] for one in (b"a", b"b", b"c")]
    np.testing.assert_allclose(document["cosines"], expected, atol=1e-6)
    code, out, _ = nasfeat("similar", "a.jpg", "b.jpg")
    assert f"{_cosine(b'a', b'b'):.3f}" in out
    assert "2 b.jpg" in out


def test_similar_needs_sound_pictures(nasfeat: Nasfeat) -> None:
    """A matrix with a hole would mislead."""
    code, _, err = nasfeat("similar", "a.jpg", "none.jpg")
    assert code == 1
    assert "none.jpg: " in err
    assert "No such file" in err


def test_search_finds_the_picture_itself_first(nasfeat: Nasfeat, colours: list[str]) -> None:
    """With a cosine of 1; the others follow by theirs."""
    Path("query.png").write_bytes(Path(colours[7]).read_bytes())
    code, out, _ = nasfeat("search", "features.parquet", "query.png", "-k", "5", "--json")
    assert code == 0
    found = json.loads(out)["found"]
    assert found[0]["label"] == colours[7]
    assert found[0]["cosine"] == pytest.approx(1, abs=1e-6)
    query = Path(colours[7]).read_bytes()
    ranked = sorted(colours, key=lambda name: -_cosine(Path(name).read_bytes(), query))
    assert [one["label"] for one in found] == ranked[:5]
    assert "07.png" in nasfeat("search", "features.parquet", "query.png")[1]


def test_search_draws_a_contact_sheet(nasfeat: Nasfeat, colours: list[str]) -> None:
    """The query first, then what was found; a picture that is gone is gray. As a picture, or as a page."""
    gone = Path(colours[3])
    query = gone.read_bytes()
    Path("query.png").write_bytes(query)
    gone.unlink()
    code, _, _ = nasfeat("search", "features.parquet", "query.png", "-k", "8", "-o", "sheet.png")
    assert code == 0
    with Image.open("sheet.png") as sheet:
        assert sheet.size == (6 * 184 + 8, 2 * 218 + 8)
        assert sheet.getpixel((8 + 88, 8 + 88)) == (24, 0, 0)
        # The first found is the query itself, whose file is gone.
        assert sheet.getpixel((8 + 184 + 88, 8 + 88)) == (0xCC, 0xCC, 0xCC)
    assert nasfeat("search", "features.parquet", "query.png", "-k", "8", "-o", "sheet.html")[0] == 0
    page = Path("sheet.html").read_text()
    assert page.count("<figure>") == 9
    assert page.index("query.png") < page.index(str(gone))
    code, _, err = nasfeat("search", "features.parquet", "query.png", "-o", "sheet.gif")
    assert code == 2
    assert "ends neither in .png nor in .html" in err


def test_search_refuses_what_does_not_compare(
    nasfeat: Nasfeat, threaded_server: FakeFeatureServer, colours: list[str]
) -> None:
    """Vectors of other weights, tables without vectors, and files that are no tables."""
    code, _, err = nasfeat("search", "features.parquet", "in")
    assert code == 1
    assert "in has more pictures than 1" in err
    identity = dataclasses.replace(FAKE_MODEL.identity, weights_digest="sha256:other")
    threaded_server.model = dataclasses.replace(FAKE_MODEL, identity=identity)
    code, _, err = nasfeat("search", "features.parquet", colours[0])
    assert code == 1
    assert "sha256:other: vectors do not compare" in err
    code, _, err = nasfeat("search", "features.parquet", colours[0], "--column", "other")
    assert code == 2
    assert "features.parquet has the columns features: choose one" in err
    Path("text.parquet").write_text("no table")
    code, _, err = nasfeat("search", "text.parquet", colours[0])
    assert code == 1
    assert "cannot read text.parquet" in err


def _write(path: Path, vectors: Sequence[npt.NDArray[np.float32]], *, video: bool = True) -> None:
    with opened_table(path, TableFormat.PARQUET) as table:
        for number, vector in enumerate(vectors):
            cells: dict[str, int | float | str] = {"frame_id": number, "timestamp_s": number / 10}
            row = Row(
                cells=cells if video else {"name": str(number)},
                arrays={"features": vector},
                identity=FAKE_MODEL.identity,
            )
            table.add(row)
        table.finish()


def _film(scenes: Sequence[int]) -> list[npt.NDArray[np.float32]]:
    """Make the features of a film: each scene a direction of its own, with a little unrest."""
    generator = np.random.default_rng(0)
    frames = []
    for length in scenes:
        scene = generator.random(300, np.float32)
        frames += [scene + 0.02 * generator.standard_normal(300, np.float32) for _ in range(length)]
    return frames


def test_timeline_finds_the_cuts(nasfeat: Nasfeat) -> None:
    """Where one scene follows another, also across the groups of a long table, and draws them."""
    scenes = (40, 3000, 25, 60)
    _write(Path("film.parquet"), _film(scenes))
    code, out, _ = nasfeat("timeline", "film.parquet", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["cuts_s"] == [4.0, 304.0, 306.5]
    assert document["frames"] == sum(scenes)
    with Image.open("timeline.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    # The red of a cut, mixed with white.
    assert ((pixels[:, 0] > 200) & (pixels[:, 1] < 130) & (pixels[:, 2] < 130)).any()
    code, out, _ = nasfeat("timeline", "film.parquet", "-o", "timeline.svg")
    assert code == 0
    assert "cut 2 at 304.000 s" in out
    assert out.endswith("3125 frames, 4 scenes: wrote timeline.svg\n")
    assert Path("timeline.svg").read_text().startswith("<?xml")


def test_timeline_is_of_videos(nasfeat: Nasfeat) -> None:
    """A table of pictures has no times; a film of one frame no cuts; an ending that nobody draws is named."""
    _write(Path("pictures.parquet"), _film([5]), video=False)
    code, _, err = nasfeat("timeline", "pictures.parquet")
    assert (code, "no column timestamp_s" in err) == (1, True)
    _write(Path("one.parquet"), _film([1]))
    code, out, _ = nasfeat("timeline", "one.parquet")
    assert (code, "1 frames, 1 scenes" in out) == (0, True)
    code, _, err = nasfeat("timeline", "one.parquet", "-o", "a.xyz")
    assert (code, "xyz" in err) == (2, True)


def test_a_steady_change_is_no_cut() -> None:
    """Neither is noise."""
    assert cuts_in(np.full(200, 0.3), sensitivity=6) == []
    assert cuts_in(np.random.default_rng(0).uniform(0, 0.01, 500), sensitivity=6) == []
    assert cuts_in(np.zeros(0), sensitivity=6) == []


def test_a_vector_of_zeros_is_like_nothing() -> None:
    """And no warning comes of it."""
    vectors = np.array([[0, 0], [3, 4]], np.float32)
    np.testing.assert_allclose(cosines(vectors, vectors), [[0, 0], [0, 1]])


def test_a_table_of_several_outputs_needs_a_choice(tmp_path: Path) -> None:
    """The columns are named."""
    path = tmp_path / "two.parquet"
    with opened_table(path, TableFormat.PARQUET) as table:
        arrays = {name: np.ones(3, np.float32) for name in ("Logits", "global_pool")}
        table.add(Row(cells={"name": "a"}, arrays=arrays, identity=FAKE_MODEL.identity))
        table.finish()
    with pytest.raises(click.UsageError, match="has the columns Logits, global_pool: choose one"):
        FeatureTable(path)
    FeatureTable(path, "Logits").close()
