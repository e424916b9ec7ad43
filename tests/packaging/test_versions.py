"""What pyproject.toml declares is what the generated code demands."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GENERATED = sorted((ROOT / "protos").rglob("*_pb2.py"))
GENERATED_GRPC = sorted((ROOT / "protos").rglob("*_pb2_grpc.py"))


@pytest.fixture(scope="module")
def floors() -> dict[str, tuple[int, ...]]:
    """The lowest version declared of each dependency of the base install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    matches = (re.match(r"([\w-]+)>=([\d.]+)", requirement) for requirement in project["dependencies"])
    return {match[1]: version(match[2]) for match in matches if match}


def version(text: str) -> tuple[int, ...]:
    """Make "1.73.1" comparable."""
    return tuple(int(part) for part in text.split("."))


def test_there_is_generated_code() -> None:
    """The other tests here would pass over nothing."""
    assert GENERATED
    assert GENERATED_GRPC


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.stem)
def test_the_declared_protobuf_can_load_the_generated_code(path: Path, floors: dict[str, tuple[int, ...]]) -> None:
    """The floor is of the release line that the generated code checks for, and no older than it."""
    call = re.search(r"ValidateProtobufRuntimeVersion\(\s*[\w.]+,\s*(\d+),\s*(\d+),\s*(\d+),", path.read_text())
    assert call
    needed = tuple(int(number) for number in call.groups())
    assert floors["protobuf"] >= needed
    assert floors["protobuf"][:2] == needed[:2]


@pytest.mark.parametrize("path", GENERATED_GRPC, ids=lambda path: path.stem)
def test_the_declared_grpcio_can_load_the_generated_code(path: Path, floors: dict[str, tuple[int, ...]]) -> None:
    """The generated code refuses an older grpcio than the one it names."""
    named = re.search(r"GRPC_GENERATED_VERSION = '([\d.]+)'", path.read_text())
    assert named
    assert version(named[1]) <= floors["grpcio"]


def test_the_generator_is_the_one_that_made_the_generated_code() -> None:
    """The pin of grpcio-tools and the committed code belong together."""
    text = (ROOT / "pyproject.toml").read_text()
    pinned = re.search(r'"grpcio-tools==([\d.]+)"', text)
    assert pinned
    for path in GENERATED_GRPC:
        assert f"GRPC_GENERATED_VERSION = '{pinned[1]}'" in path.read_text()
