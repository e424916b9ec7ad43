"""The `nasfeat-server` program as an operator hardens it."""

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc.aio
import psutil
import pytest

from credentials import Authority, bearing, channel_to, write_tokens
from nasfeat.v1 import feature_service_pb2, feature_service_pb2_grpc
from others import NOBODY, environment, needs_root, server_program
from programs import ANYWHERE, FAKE, SERVER, RunningServer, start_server
from serving import pixels

_TOKEN = "nasfeat_of-nobody"  # noqa: S105 - of nobody
_REQUEST = feature_service_pb2.ExtractFeaturesRequest(images=[pixels(1)])
# Everything that there is becomes read-only, in a view of its own.
_READ_ONLY = """
mount --make-rprivate /
for place in / /tmp /var/tmp /dev/shm "$HOME"; do
  mount --bind "$place" "$place" && mount -o remount,ro,bind "$place" || exit 77
  if touch "$place/file" 2>/dev/null; then exit 77; fi
done
if [ -n "$1" ]; then mount --bind "$1" "$1" && mount -o remount,rw,bind "$1" || exit 77; fi
shift && cd / && exec "$@"
"""


def _sandbox(writable: Path | str = "") -> tuple[str, ...]:
    """Give what runs a command where nothing can be written but below `writable`."""
    return ("unshare", "--mount", "sh", "-c", _READ_ONLY, "sh", str(writable))


_needs_mounts = pytest.mark.skipif(
    subprocess.run([*_sandbox(), "true"], capture_output=True, check=False).returncode != 0,
    reason="only root can make a file system read-only",
)


def _files(authority: Authority) -> tuple[str, ...]:
    """Give the options of a server that is closed to strangers."""
    files = {"--tls-cert": authority.certificate, "--tls-key": authority.key, "--tls-client-ca": authority.clients}
    return tuple(str(part) for option in files.items() for part in option)


async def _ended(*options: str, program: Sequence[str]) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *program, *options, env=environment(), cwd="/", stderr=asyncio.subprocess.PIPE
    )
    _, told = await process.communicate()
    return process.returncode or 0, told.decode()


async def _answers(running: RunningServer, authority: Authority) -> bool:
    async with channel_to(running.listening, authority.client()) as channel:
        stub = feature_service_pb2_grpc.FeatureServiceStub(channel)
        response = await stub.ExtractFeatures(_REQUEST, metadata=bearing(_TOKEN))
    return response.results[0].HasField("features")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that others may read: pytest's own are for their user alone, and every run of it sees to that."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


@needs_root
async def test_the_server_and_its_replicas_are_the_user_that_was_named(open_folder: Path) -> None:
    """Root binds a port of its own; what decodes and computes then has no rights, and serves."""
    authority = Authority(open_folder)
    tokens = write_tokens(open_folder / "tokens.toml", {"a": ((_TOKEN,), {})})
    os.chown(authority.key, NOBODY, NOBODY)
    options = (*FAKE, *_files(authority), "--tokens", str(tokens), "--user", "nobody")
    running = await start_server(*options, program=server_program(), environment=environment())
    processes = (psutil.Process(running.process.pid), *running.replicas())
    assert len(processes) == 2
    assert {(*process.uids(), *process.gids()) for process in processes} == {(NOBODY,) * 6}
    assert await _answers(running, authority)
    running.process.terminate()
    assert await running.process.wait() == 0


@needs_root
async def test_a_key_that_the_user_cannot_read_again_is_refused(tmp_path: Path) -> None:
    """At the start, where somebody looks, and not when it is renewed."""
    authority = Authority(tmp_path)
    code, told = await _ended(*FAKE, *_files(authority), "--user", "nobody", program=server_program())
    assert code == 2
    assert "user nobody must read" in told


@pytest.mark.skipif(os.geteuid() != 0, reason="it is about root")
@pytest.mark.parametrize("option", ["--listen", "--metrics"])
async def test_root_does_not_serve_other_machines(option: str) -> None:
    """Unless it is told to: what decodes strangers' images should have no rights."""
    code, told = await _ended(*FAKE, option, "0.0.0.0:0", program=(str(SERVER),))
    assert code == 2
    assert "root would serve other machines" in told
    assert "--allow-root" in told
    running = await start_server(*FAKE, option, "0.0.0.0:0", "--allow-root")
    running.process.terminate()
    assert await running.process.wait() == 0


@_needs_mounts
async def test_it_serves_where_nothing_can_be_written(tmp_path: Path) -> None:
    """A read-only file system, /tmp and shared memory among it: all that the server writes is its memory."""
    authority = Authority(tmp_path)
    tokens = write_tokens(tmp_path / "tokens.toml", {"a": ((_TOKEN,), {})})
    program = (*_sandbox(), str(SERVER))
    options = (*FAKE, *_files(authority), "--tokens", str(tokens), "--allow-root")
    running = await start_server(*options, program=program)
    assert await _answers(running, authority)
    running.process.terminate()
    assert await running.process.wait() == 0


@pytest.mark.slow
@_needs_mounts
@pytest.mark.parametrize("engine", ["tensorflow", "openvino"])
async def test_it_prepares_and_computes_where_the_cache_alone_can_be_written(tmp_path: Path, engine: str) -> None:
    """Frameworks that want a place for temporary files find it in the cache, as does a second start the model."""
    own = ("--engine", engine, "--weights", "random:0", "--variant", "cifar", "--cache", str(tmp_path), "--allow-root")
    for _ in range(2):
        running = await start_server(*own, *ANYWHERE, program=(*_sandbox(tmp_path), str(SERVER)))
        async with grpc.aio.insecure_channel(running.listening) as channel:
            stub = feature_service_pb2_grpc.FeatureServiceStub(channel)
            response = await stub.ExtractFeatures(_REQUEST)
        assert response.results[0].HasField("features")
        running.process.terminate()
        assert await running.process.wait() == 0


async def test_wrong_files_are_told_at_the_start(tmp_path: Path) -> None:
    """Exit code 2, and the reason; what does not belong together is named by its option."""
    authority = Authority(tmp_path)
    other = tmp_path / "tokens.toml"
    other.write_text("[tenants.a]\nx = 1")
    for options, complaint in (
        (
            ("--tls-cert", str(authority.certificate)),
            "--tls-key: the certificate and the key of TLS are given together",
        ),
        (("--tls-client-ca", str(authority.clients)), "--tls-client-ca: clients can be asked for certificates only by"),
        (("--tls-cert", "/none", "--tls-key", str(authority.key)), "the certificate for TLS: "),
        (("--tokens", str(other)), f"the tokens in {other}: a: x is no setting of a tenant"),
        (("--user", "nobody-of-that-name"), "there is no user 'nobody-of-that-name'"),
        (("--max-connection-age", "-1"), "--max-connection-age: -1.0 is not in the range"),
    ):
        code, told = await _ended(*FAKE, *ANYWHERE, *options, program=(str(SERVER),))
        assert (code, complaint in told) == (2, True), told
