"""What starting a program or importing a package brings along, seen at run time.

import-linter reads the source; it does not see what a package's `__init__` brings in with a submodule.
"""

import subprocess
import sys

import pytest

FRAMEWORKS = {"tensorflow", "tensorflow_hub", "keras", "jax", "openvino", "opentelemetry", "ray"}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("nasfeat_server.app", FRAMEWORKS),
        ("nasfeat_server.cli", FRAMEWORKS),
        # A probe of containers runs it every few seconds.
        ("nasfeat_server.cli.health", {*FRAMEWORKS, "numpy", "cryptography", "PIL", "nasfeat_server.app"}),
        ("nasfeat_server.cli.main", {*FRAMEWORKS, "numpy", "nasfeat_server.app"}),
        ("nasfeat_server.imaging.decode", {*FRAMEWORKS, "grpc", "google.protobuf"}),
        ("nasfeat_server.scheduling.dispatcher", {*FRAMEWORKS, "grpc", "google.protobuf", "PIL"}),
        ("nasfeat_client", {*FRAMEWORKS, "PIL", "click", "rich", "av", "nasfeat_server"}),
    ],
)
def test_an_import_stays_light(module: str, unwanted: set[str]) -> None:
    """A fresh interpreter that imports the module has loaded none of the libraries that it can do without."""
    program = f"import sys, {module}; print(*sorted({unwanted!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
