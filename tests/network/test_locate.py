"""Every way to name weights leads to a place on this machine, or to an error that says what is allowed."""

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nasfeat_server.errors import WeightsError
from nasfeat_server.network.card import ModelCard, write_card
from nasfeat_server.network.spec import VARIANTS
from nasfeat_server.network.weights.locate import locate
from webserver import serving

if TYPE_CHECKING:
    from tests.network.conftest import Packer, Reference

KERAS_FILE = b"\x89HDF\r\n\x1a\n and what follows"


@pytest.fixture
def checkpoint(tiny_cifar: "Reference", tmp_path: Path) -> Path:
    """A directory with nothing but a checkpoint."""
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    for path in tiny_cifar.folder.glob("model.ckpt.*"):
        shutil.copy(path, directory)
    return directory


def test_checkpoints(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint is named by its prefix, one of its files or its directory; what is located is absolute."""
    prefix = checkpoint / "model.ckpt"
    for name in ("model.ckpt", "model.ckpt.index", "model.ckpt.data-00000-of-00001"):
        assert locate(str(checkpoint / name)).location == str(prefix)
    monkeypatch.chdir(checkpoint.parent)
    assert locate("checkpoint").location == str(checkpoint)
    monkeypatch.setenv("HOME", str(checkpoint.parent))
    assert locate("~/checkpoint").location == str(checkpoint)


def test_the_variant_and_the_wiring(checkpoint: Path) -> None:
    """What has no card is of the variant that is named, or Large, and wired as the original unless asked otherwise."""
    assert locate(str(checkpoint)).spec == VARIANTS["large"]
    located = locate(str(checkpoint), "mobile", keras_wiring=True)
    assert (located.spec.name, located.spec.wiring, located.labels, located.trained) == (
        "nasnet_mobile",
        "keras",
        (),
        True,
    )


def test_a_card_says_what_a_module_is(checkpoint: Path, tiny_cifar: "Reference") -> None:
    """With a card, variant, labels and training need not be named; a variant that is named counts more."""
    write_card(checkpoint, ModelCard(spec=tiny_cifar.spec, labels=("cat", "dog"), trained=False))
    located = locate(str(checkpoint))
    assert (located.spec, located.labels, located.trained) == (tiny_cifar.spec, ("cat", "dog"), False)
    assert locate(str(checkpoint), "mobile").spec == VARIANTS["mobile"]


@pytest.mark.parametrize("folder", ["", "nasnet-a_04_10_2017", "./outer/inner"])
def test_an_archive_is_unpacked_once(checkpoint: Path, pack: "Packer", tmp_path: Path, folder: str) -> None:
    """Archives hold a checkpoint at the top or in a folder, and are unpacked into the cache when they are new."""
    archive, cache, lines = pack(checkpoint, folder), tmp_path / "cache", list[str]()
    located = locate(str(archive), cache_dir=cache, report=lines.append)
    assert Path(located.location).is_relative_to(cache / "unpacked")
    assert {path.name for path in Path(located.location).iterdir()} == {path.name for path in checkpoint.iterdir()}
    assert locate(str(archive), cache_dir=cache, report=lines.append) == located
    assert [line.partition(" (")[0] for line in lines] == ["unpacking packed.tar.gz"]
    pack(checkpoint, folder + "changed")
    assert locate(str(archive), cache_dir=cache, report=lines.append).location != located.location


def test_archives_stay_in_their_place(tmp_path: Path) -> None:
    """An archive that would write elsewhere is refused, and leaves nothing behind."""
    archive = tmp_path / "evil.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../../evil"), io.BytesIO())
    with pytest.raises(WeightsError, match=r"cannot unpack .*evil.* outside the destination"):
        locate(str(archive), cache_dir=tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").rglob("*") if path.is_file()] == [".lock"]


def test_damaged_archives(checkpoint: Path, pack: "Packer", tmp_path: Path) -> None:
    """A cut-off archive, and one without weights, are named."""
    archive = pack(checkpoint)
    archive.write_bytes(archive.read_bytes()[:200])
    with pytest.raises(WeightsError, match=r"cannot unpack .*packed\.tar\.gz"):
        locate(str(archive), cache_dir=tmp_path / "cache")
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match=r"must hold a module or one checkpoint, and holds none"):
        locate(str(pack(tmp_path / "empty")), cache_dir=tmp_path / "cache")


def test_files_are_known_by_their_contents(tmp_path: Path) -> None:
    """A Keras file needs no ending; what is neither that nor an archive is refused with the list of what is allowed."""
    (tmp_path / "weights").write_bytes(KERAS_FILE)
    assert locate(str(tmp_path / "weights")).location == str(tmp_path / "weights")
    (tmp_path / "page.h5").write_text("<!DOCTYPE html>")
    with pytest.raises(WeightsError, match=r"neither .* \(it begins with b'<!DOCTYP'\); weights are published, hub:"):
        locate(str(tmp_path / "page.h5"))


def test_urls(checkpoint: Path, pack: "Packer", tmp_path: Path) -> None:
    """A URL is downloaded and is then what its contents are; contents of no use do not stay."""
    files = {"/a.tar.gz": pack(checkpoint).read_bytes(), "/a/download": KERAS_FILE, "/a.h5": b"<html>"}
    cache = tmp_path / "cache"
    with serving(files) as site:
        unpacked = locate(f"{site.url}/a.tar.gz", cache_dir=cache)
        assert (Path(unpacked.location) / "model.ckpt.index").is_file()
        keras = locate(f"{site.url}/a/download?token=1", cache_dir=cache)
        assert Path(keras.location).read_bytes() == KERAS_FILE
        with pytest.raises(WeightsError, match=r"neither an archive nor a Keras file"):
            locate(f"{site.url}/a.h5", cache_dir=cache)
        files["/a.h5"] = KERAS_FILE
        assert Path(locate(f"{site.url}/a.h5", cache_dir=cache).location).read_bytes() == KERAS_FILE
        with pytest.raises(WeightsError, match=r"404 Not Found\ngive the path of a downloaded module"):
            locate(f"{site.url}/none.h5", cache_dir=cache)


@pytest.mark.parametrize("source", ["", "nowhere", "htp://example.org/a.h5", "published ", "random"])
def test_everything_else(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no source at all gets the list of those there are."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match=r"(?s)(there is nothing at|must hold) .*"):
        locate(source)


def test_what_is_here_needs_no_framework(checkpoint: Path) -> None:
    """To find a checkpoint or random weights takes no TensorFlow, and no library for downloads."""
    script = (
        "import sys; from nasfeat_server.network.weights.locate import locate\n"
        "locate('random:0'), locate(sys.argv[1])\n"
        "assert not {'tensorflow', 'keras', 'tensorflow_hub', 'h5py', 'pooch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script, checkpoint], check=True)
