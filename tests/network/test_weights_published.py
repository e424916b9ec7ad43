"""Published weights come from TF-Hub, TF-Slim or Keras, whichever can be had; what is cached needs no network."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nasfeat_server.errors import WeightsError
from nasfeat_server.network.spec import VARIANTS
from nasfeat_server.network.weights import load_weights
from nasfeat_server.network.weights.locate import locate
from nasfeat_server.network.weights.published import PUBLISHED, Published
from webserver import serving

if TYPE_CHECKING:
    from tests.network.conftest import Packer, Reader, Reference, Writer

HANDLE = "google/imagenet/nasnet_large/feature_vector/1"


def folder_of(handle: str) -> str:
    """Name a module's folder as TF-Hub does."""
    return hashlib.sha1(f"https://tfhub.dev/{handle}".encode(), usedforsecurity=False).hexdigest()


@pytest.fixture
def module(tiny_cifar: "Reference", write_checkpoint: "Writer", read_variables: "Reader") -> Path:
    """A directory that passes for a module: its variables are where modules have them."""
    return write_checkpoint(read_variables(tiny_cifar.checkpoint), "module/variables/variables").parents[1]


@pytest.fixture
def published(tiny_cifar: "Reference", monkeypatch: pytest.MonkeyPatch, hub_cache: Path) -> Callable[..., None]:
    """Publish `tiny_cifar` on another host, so far without any of the three forms."""

    def publish(url: str, keras: bytes = b"") -> None:
        forms = Published(
            handle=f"{url}/module/1",
            checkpoint=f"{url}/slim.tar.gz",
            keras=f"{url}/keras.h5",
            keras_digest=f"sha256:{hashlib.sha256(keras).hexdigest()}",
        )
        monkeypatch.setattr("nasfeat_server.network.weights.published.PUBLISHED", {tiny_cifar.spec.name: forms})

    return publish


def test_what_is_published() -> None:
    """The two ImageNet networks are, in three forms each; the CIFAR network is not, and that is said at once."""
    assert list(PUBLISHED) == [VARIANTS["large"].name, VARIANTS["mobile"].name]
    assert PUBLISHED["nasnet_large"].handle == HANDLE
    assert PUBLISHED["nasnet_mobile"].checkpoint.endswith("/models/nasnet-a_mobile_04_10_2017.tar.gz")
    with pytest.raises(WeightsError, match="no weights of nasnet_cifar are published, only of nasnet_large, nasnet_m"):
        locate("published", "cifar")


def test_the_forms_are_tried_in_turn(
    tiny_cifar: "Reference", module: Path, pack: "Packer", published: Callable[..., None], tmp_path: Path
) -> None:
    """The module is preferred to the checkpoint, and that to Keras' file; each that fails is reported."""
    archive = pack(module).read_bytes()
    keras = b"\x89HDF\r\n\x1a\n"
    lines: list[str] = []
    with serving({"/keras.h5": keras, "/slim.tar.gz": archive, "/module/1": archive}) as site:
        published(site.url, keras)
        found = [locate("published", tiny_cifar.spec, cache_dir=tmp_path / "1", report=lines.append).location]
        assert [path for path, _ in site.requests] == ["/module/1"]
        for number, missing in enumerate(("/module/1", "/slim.tar.gz"), 2):
            shutil.rmtree(tmp_path / "tfhub")
            del site.files[missing]
            place = locate("published", tiny_cifar.spec, cache_dir=tmp_path / str(number), report=lines.append)
            found.append(place.location)
    assert Path(found[0]).parent == tmp_path / "tfhub"
    assert Path(found[1]).is_relative_to(tmp_path / "2" / "unpacked")
    assert Path(found[2]).read_bytes() == keras
    failed = [line for line in lines if line.startswith("cannot ")]
    assert failed[0] == failed[1] == f"cannot fetch {site.url}/module/1: HTTP Error 404: Not Found"
    assert failed[2:] == [f"cannot download {site.url}/slim.tar.gz: the server answers 404 Not Found"]
    assert any(line.startswith(f"Downloaded {site.url}/module/1") for line in lines)


def test_what_is_here_is_not_asked_for_again(
    tiny_cifar: "Reference", module: Path, pack: "Packer", published: Callable[..., None], tmp_path: Path
) -> None:
    """Whichever form was downloaded before is taken without a look at the network."""
    with serving({"/slim.tar.gz": pack(module).read_bytes()}) as site:
        published(site.url)
        first = locate("published", tiny_cifar.spec, cache_dir=tmp_path / "cache")
    assert locate("published", tiny_cifar.spec, cache_dir=tmp_path / "cache") == first


def test_all_reasons_are_listed(tiny_cifar: "Reference", published: Callable[..., None], tmp_path: Path) -> None:
    """When nothing can be had, one error has the reason of each, and the ways without a network."""
    lines: list[str] = []
    published("http://127.0.0.1:1")
    with pytest.raises(WeightsError) as caught:
        locate("published", tiny_cifar.spec, cache_dir=tmp_path, report=lines.append)
    first, *reasons, last = str(caught.value).splitlines()
    assert first == "the published weights of tiny_cifar cannot be had:"
    assert [reason.strip() for reason in reasons] == lines
    names = ("module/1", "slim.tar.gz", "keras.h5")
    for name, reason in zip(names, lines, strict=True):
        assert reason.startswith(f"cannot fetch http://127.0.0.1:1/{name}: 127.0.0.1 cannot be reached: ")
    assert all(word in last for word in ("the path of a downloaded module", "TFHUB_CACHE_DIR", "random:SEED"))


def test_another_file_in_keras_place(tiny_cifar: "Reference", published: Callable[..., None], tmp_path: Path) -> None:
    """Of the form whose digest is known, no other file is taken."""
    with serving({"/keras.h5": b"\x89HDF\r\n\x1a\n"}) as site:
        published(site.url, b"another")
        with pytest.raises(WeightsError, match=r"keras\.h5 sent another file than was published: SHA256 hash"):
            locate("published", tiny_cifar.spec, cache_dir=tmp_path)


def test_handles(tiny_cifar: "Reference", module: Path, hub_cache: Path) -> None:
    """A handle, its URL and a path are one thing to TF-Hub; what is in its cache needs no network."""
    shutil.copytree(module, hub_cache / folder_of("someone/module/1"))
    for source in ("hub:someone/module/1", "hub:https://tfhub.dev/someone/module/1", f"hub:{module}"):
        assert (
            load_weights(source, tiny_cifar.spec).digest == load_weights(tiny_cifar.checkpoint, tiny_cifar.spec).digest
        )


def test_a_module_by_its_url(tiny_cifar: "Reference", module: Path, pack: "Packer", hub_cache: Path) -> None:
    """A module is downloaded into TF-Hub's cache, once."""
    with serving({"/m.tar.gz": pack(module).read_bytes()}) as site:
        located = locate(f"hub:{site.url}/m.tar.gz", tiny_cifar.spec)
        assert locate(f"hub:{site.url}/m.tar.gz", tiny_cifar.spec) == located
        assert len(site.requests) == 1
    assert Path(located.location).parent == hub_cache


def test_an_unreachable_module_says_what_else_there_is(hub_cache: Path) -> None:
    """Without a network the error names the address, the reason, and the way without one."""
    with pytest.raises(WeightsError, match=r"cannot fetch http://127\.0\.0\.1:1/module: .*refused\n.*random:SEED"):
        locate("hub:http://127.0.0.1:1/module")


def test_paths_are_not_taken_for_handles(hub_cache: Path, tmp_path: Path) -> None:
    """What looks like a path is looked for here alone."""
    with pytest.raises(WeightsError, match=r"cannot fetch .*nowhere.*: .*does not exist"):
        locate(f"hub:{tmp_path}/nowhere")


def test_what_is_no_module(hub_cache: Path) -> None:
    """A page in the module's place is refused and does not stay in the cache."""
    with (
        serving({"/m.tar.gz": b"<html>"}) as site,
        pytest.raises(WeightsError, match="not appear to be a valid module"),
    ):
        locate(f"hub:{site.url}/m.tar.gz")
    assert not [path for path in hub_cache.iterdir() if path.is_dir()]
