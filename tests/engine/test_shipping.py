"""Prepared models on machines that do not share the server's cache."""

from pathlib import Path

import pytest

from nasfeat_server.engine import receiving
from nasfeat_server.engine.artifacts import ArtifactStore
from nasfeat_server.engine.remote_replica import RemoteReplica
from nasfeat_server.engine.shipping import Shipment


def _prepared(directory: Path) -> Path:
    def make(place: Path) -> None:
        (place / "model").write_bytes(b"weights")
        (place / "compiled.blob").write_bytes(b"machine code")
        (place / "empty").touch()

    return ArtifactStore(directory, print).get("cifar-fake-0", make)


async def test_a_node_that_lacks_a_model_is_sent_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next replica of the node finds it there, whole."""
    artifact, node = _prepared(tmp_path / "server"), tmp_path / "node"
    monkeypatch.setattr(receiving, "directories", lambda _: (node,))
    shipment = Shipment.of(str(artifact))
    first, second = RemoteReplica(), RemoteReplica()
    assert await first.find(shipment) is None
    contents = shipment.contents()
    kept = await first.keep(shipment, tuple(contents), *contents.values())
    assert await second.find(shipment) == kept == str(node / artifact.name)
    assert (node / artifact.name / "model").read_bytes() == b"weights"


def test_a_shared_cache_is_found_and_nothing_sent(tmp_path: Path) -> None:
    """What lies in the same place, and is whole, is taken."""
    artifact = _prepared(tmp_path)
    assert receiving.find(Shipment.of(str(artifact)), print) == str(artifact)
    (artifact / "model").write_bytes(b"damaged")
    assert receiving.find(Shipment.of(str(artifact)), print) is None


def test_another_processor_compiles_for_itself(tmp_path: Path) -> None:
    """Machine code for the server's processor may not run there: it is left out, and a shared cache not taken."""
    artifact = _prepared(tmp_path)
    shipment = Shipment(artifact=str(artifact), processor="another one")
    assert receiving.find(shipment, print) is None
    kept = Path(receiving.keep(shipment, shipment.contents(), print))
    assert kept != artifact
    assert {path.name for path in kept.iterdir()} == {"model", "empty", "manifest.json"}
    assert receiving.find(shipment, print) == str(kept)


def test_a_read_only_cache_sends_it_to_the_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node may have nothing at the server's path, and no right to make it."""
    artifact = _prepared(tmp_path / "server")
    offered = Shipment(artifact=f"/proc/nowhere/{artifact.name}", processor=Shipment.of(str(artifact)).processor)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    kept = receiving.keep(offered, Shipment.of(str(artifact)).contents(), print)
    assert kept == str(tmp_path / "nasfeat-prepared" / artifact.name)
