"""The work directory: whose it is, and what a run must share with the one that it goes on from."""

from pathlib import Path

import pytest

from nasfeat_server.errors import ConfigurationError

TERMS = {"--epochs": 3, "labels": ("a", "b"), "--warmup-epochs": None}


def test_other_terms_are_refused_by_name(tmp_path: Path) -> None:
    """Once something is saved, equal terms go on, whatever JSON makes of them; others are listed with both values."""
    from nasfeat_server.network.training.state import WorkDirectory

    with WorkDirectory(tmp_path / "work") as work:
        work.agree({**TERMS, "--epochs": 1})
        work.agree(TERMS)
        save(tmp_path / "work")
    with WorkDirectory(tmp_path / "work") as work:
        assert work.begun
        work.agree(TERMS)
        with pytest.raises(ConfigurationError) as caught:
            work.agree({**TERMS, "--epochs": 4, "--warmup-epochs": 1.0})
    first, *listed, last = str(caught.value).splitlines()
    assert str(tmp_path / "work") in first
    assert listed == ["  --epochs was 3, and is 4", "  --warmup-epochs was None, and is 1.0"]
    assert "remove that directory to begin anew" in last


def test_two_runs_do_not_share_a_directory(tmp_path: Path) -> None:
    """The second is refused for as long as the first is there."""
    from nasfeat_server.network.training.state import WorkDirectory

    with WorkDirectory(tmp_path) as work:
        work.agree(TERMS)
        save(tmp_path)
        with pytest.raises(ConfigurationError, match="another run works in"), WorkDirectory(tmp_path):
            pass
    with WorkDirectory(tmp_path) as again:
        assert again.begun


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    """A directory with anything else in it is refused, and nothing in it is touched."""
    from nasfeat_server.network.training.state import WorkDirectory

    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigurationError, match=r"is no work directory of a fine-tuning: it holds thesis\.tex"):
        WorkDirectory(tmp_path).__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_nothing_is_left(tmp_path: Path) -> None:
    """A directory in which nothing was saved goes when the run ends, and so does one whose run is done."""
    from nasfeat_server.network.training.state import WorkDirectory

    path = tmp_path / "work"
    with WorkDirectory(path) as work:
        work.agree(TERMS)
    assert not path.exists()
    with WorkDirectory(path) as work:
        work.agree(TERMS)
        save(path)
        work.end()
    assert not path.exists()


def save(work: Path) -> None:
    """Leave what a saving leaves."""
    for name in ("best", "state"):
        (work / name).mkdir()
        (work / name / "ckpt-1.index").touch()
        (work / name / "checkpoint").touch()
