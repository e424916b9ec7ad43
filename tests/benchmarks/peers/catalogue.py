"""Who is compared, and how each is started: the only place that knows a peer by name."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from peers.model import MAX_BATCH, NULL

ROOT = Path(__file__).resolve().parents[3]
BUILD = ROOT / "build" / "peers"
LOADS = ("raw", "jpeg")
UNARY, STREAM = "unary", "stream"
REFERENCE = "echo"
NULL_MODEL, NETWORK = "null", "nasnet"

_BENCHMARKS = Path(__file__).resolve().parents[1]
_SERVER = Path(sys.executable).with_name("nasfeat-server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What a server is to serve.

    Attributes:
        model: "null" or the directory of a SavedModel.
        variant: the network's variant; the null model has its sizes.
        size: of the pictures, in pixels.
        loads: those that will come.
    """

    model: str
    variant: str
    size: int
    loads: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One server beside others.

    Attributes:
        name: as options and results have it.
        title: as tables have it.
        client: the module of `peers.clients` that asks it.
        ways: how it is asked, of "unary" and "stream".
        environment: the virtual environment of its server and client, with requirements of the same name; "" is ours.
        server: the module of `peers.servers` that starts it; "" for ours.
        engine: nasfeat's engine for the network.
        models: of "null" and "nasnet", what it can serve.
        native: no Python in the way of a request but the model's; compared apart.
    """

    name: str
    title: str
    client: str
    ways: tuple[str, ...] = (UNARY,)
    environment: str = ""
    server: str = ""
    engine: str = ""
    models: tuple[str, ...] = (NULL_MODEL, NETWORK)
    native: bool = False

    @property
    def is_ours(self) -> bool:
        """Tell nasfeat from its peers."""
        return bool(self.engine)


PEERS = (
    Peer(name=REFERENCE, title="bare grpc.aio echo", client="bare_grpc", ways=(STREAM,), models=(NULL_MODEL,)),
    Peer(name="nasfeat", title="nasfeat", client="nasfeat_sdk", ways=(UNARY, STREAM), engine="auto"),
    Peer(
        name="nasfeat-tensorflow",
        title="nasfeat, TensorFlow",
        client="nasfeat_sdk",
        ways=(UNARY, STREAM),
        engine="tensorflow",
        models=(NETWORK,),
    ),
    Peer(
        name="triton",
        title="Triton, Python backend",
        client="triton",
        ways=(UNARY, STREAM),
        environment="triton",
        server="triton_backend",
        native=True,
    ),
    Peer(
        name="pytriton",
        title="Triton by PyTriton",
        client="triton",
        ways=(UNARY, STREAM),
        environment="triton",
        server="pytriton",
    ),
    Peer(name="ray", title="Ray Serve", client="http", environment="ray", server="ray_serve"),
    Peer(name="litserve", title="LitServe", client="http_form", environment="litserve", server="lit_serve"),
    Peer(name="mosec", title="mosec", client="http", environment="mosec", server="mosec_server"),
    Peer(
        name="plain",
        title="plain grpc.aio",
        client="bare_grpc",
        ways=(UNARY, STREAM),
        environment="plain",
        server="plain_grpc",
    ),
)


def python_of(peer: Peer) -> Path:
    """Give the Python that runs a peer's client, and its server."""
    return BUILD / peer.environment / "venv" / "bin" / "python" if peer.environment else Path(sys.executable)


def environment_of(peer: Peer) -> Mapping[str, str]:
    """Give the environment variables of a peer's processes: ours are on no path of a foreign Python's."""
    paths = (_BENCHMARKS, ROOT / "protos") if peer.environment else (_BENCHMARKS,)
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "0",
    }


def server_command(peer: Peer, serving: Serving, address: str, scratch: Path) -> tuple[str | Path, ...]:
    """Tell how to start a peer's server at host:port, which may write below `scratch`."""
    if peer.is_ours:
        return _our_command(peer, serving, address)
    if peer.name == REFERENCE:
        return sys.executable, _BENCHMARKS / "echo.py", address
    told = (serving.model, str(serving.size), ",".join(serving.loads), str(scratch))
    return python_of(peer), "-m", f"peers.servers.{peer.server}", address, *told


def _our_command(peer: Peer, serving: Serving, address: str) -> tuple[str | Path, ...]:
    fake = serving.model == NULL
    engine, weights = ("fake", "random:0") if fake else (peer.engine, serving.model)
    told = ("--engine", engine, "--weights", weights, "--variant", serving.variant, "--cache", str(BUILD / "cache"))
    where = ("--listen", address, "--metrics", "127.0.0.1:0", "--devices", "cpu:0", "--max-batch", str(MAX_BATCH))
    return _SERVER, "serve", *told, *where


def load_command(peer: Peer, address: str, pictures: Path) -> tuple[str | Path, ...]:
    """Tell how to start the load generator with a peer's client."""
    return python_of(peer), "-m", "peers.load", peer.client, address, str(pictures), peer.ways[0]
