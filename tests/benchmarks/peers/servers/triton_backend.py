"""NVIDIA Triton with a model of its Python backend: Triton's server forms batches, and hands them to its stub process.

The server's binary is PyTriton's; of backends that brings the Python one alone.
"""

import os
import shutil
import sys
from pathlib import Path

from pytriton.utils.distribution import get_libs_path, get_root_module_path, get_stub_path

from peers.model import MAX_BATCH
from peers.servers import Arguments, arguments

_CONFIG = """
name: "{load}"
backend: "python"
max_batch_size: {max_batch}
input [{{ name: "pictures", data_type: {kind}, dims: [{dims}] }}]
output [{{ name: "features", data_type: TYPE_FP32, dims: [-1] }}]
dynamic_batching {{ max_queue_delay_microseconds: 0 }}
instance_group [{{ count: 1, kind: KIND_CPU }}]
parameters [
  {{ key: "model", value: {{ string_value: "{model}" }} }},
  {{ key: "size", value: {{ string_value: "{size}" }} }}
]
"""

# The stub does not look at PYTHONPATH.
_MODEL = f"""
import sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})
from peers.servers.triton_model import TritonPythonModel
"""


def _write(repository: Path, told: Arguments) -> None:
    inputs = {"raw": ("TYPE_UINT8", f"{told.size}, {told.size}, 3"), "jpeg": ("TYPE_STRING", "1")}
    for load in told.loads:
        kind, dims = inputs[load]
        text = _CONFIG.format(load=load, kind=kind, dims=dims, max_batch=MAX_BATCH, model=told.model, size=told.size)
        (repository / load / "1").mkdir(parents=True)
        (repository / load / "config.pbtxt").write_text(text)
        (repository / load / "1" / "model.py").write_text(_MODEL)


def _backends(directory: Path) -> Path:
    """Lay the Python backend out with its stub for this Python beside it, as it looks for it."""
    backends = directory / "backends"
    shutil.copytree(get_root_module_path() / "tritonserver" / "backends", backends)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copy(get_stub_path(version), backends / "python" / "triton_python_backend_stub")
    return backends


def main() -> None:
    """Become Triton's server."""
    told = arguments()
    scratch = Path(told.scratch)
    _write(scratch / "models", told)
    # The stub embeds Python, and finds this environment by what comes first.
    os.environ["PATH"] = f"{sys.exec_prefix}/bin:{os.environ['PATH']}"
    os.environ["LD_LIBRARY_PATH"] = str(get_libs_path())
    program = str(get_root_module_path() / "tritonserver" / "bin" / "tritonserver")
    options = {
        "model-repository": scratch / "models",
        "backend-directory": _backends(scratch),
        "grpc-address": told.host,
        "grpc-port": told.port,
        "allow-http": "false",
        "allow-metrics": "false",
        # Names its shared memory, which else two servers of one machine would share.
        "backend-config": f"python,shm-region-prefix-name=peers{os.getpid()}",
    }
    os.execv(program, [program, *(f"--{name}={value}" for name, value in options.items())])  # noqa: S606


if __name__ == "__main__":
    main()
