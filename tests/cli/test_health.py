"""`nasfeat-server health`, as containers and supervisors run it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest
from click.testing import CliRunner, Result
from grpc_health.v1 import health_pb2_grpc

from credentials import SERVER_NAME, Authority
from nasfeat_server.app import App
from nasfeat_server.cli.main import main
from nasfeat_server.rpc.health import HealthServicer
from programs import FAKE, SERVER, server
from serving import running


async def _ask(target: object, *options: str | Path) -> Result:
    arguments = ["health", "--target", str(target), *(str(option) for option in options)]
    return await asyncio.to_thread(CliRunner().invoke, main, arguments)


@contextlib.asynccontextmanager
async def _secured(authority: Authority, *, mutual: bool) -> AsyncIterator[App]:
    async with running(security=authority.mutual if mutual else authority.security) as app:
        yield app


async def test_the_program_says_whether_a_server_serves() -> None:
    """Exit code 0 and SERVING for the server and for liveness; 1 and the reason for a name that there is not."""
    async with server(*FAKE) as found:
        for service, code, told in (
            ("", 0, "SERVING\n"),
            ("liveness", 0, "SERVING\n"),
            ("elsewhere", 1, f"Error: {found.listening}: NOT_FOUND: nothing here is called 'elsewhere'\n"),
        ):
            process = await asyncio.create_subprocess_exec(
                *(SERVER, "health", "--target", found.listening, "--service", service),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            printed, _ = await process.communicate()
            assert (process.returncode, printed.decode()) == (code, told)


async def test_a_server_that_takes_no_work_does_not_serve() -> None:
    """NOT_SERVING is exit code 1."""
    servicer = HealthServicer()
    servicer.set("", serving=False)
    listening = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, listening)
    port = listening.add_insecure_port("127.0.0.1:0")
    await listening.start()
    result = await _ask(f"127.0.0.1:{port}")
    assert (result.exit_code, result.stderr) == (1, f"Error: 127.0.0.1:{port}: NOT_SERVING\n")
    await listening.stop(0)


async def test_a_server_that_starts_or_hangs_does_not_serve() -> None:
    """It has the port and says nothing: the probe gives up after its time. Where nobody listens it says so at once."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        result = await _ask(f"127.0.0.1:{port}", "--timeout", "0.3")
        assert result.exit_code == 1
        assert "DEADLINE_EXCEEDED" in result.stderr or "UNAVAILABLE" in result.stderr
    result = await _ask(f"127.0.0.1:{port}")
    assert result.exit_code == 1
    assert "UNAVAILABLE" in result.stderr


@pytest.mark.parametrize("trusted", ["authority", "server"])
async def test_a_server_with_tls_is_trusted_by_its_authority_or_by_its_certificate(
    trusted: str, tmp_path: Path
) -> None:
    """A probe beside the server needs no file that the server has not; another name than the target's is given."""
    authority = Authority(tmp_path)
    trust = authority.clients if trusted == "authority" else authority.certificate
    async with _secured(authority, mutual=False) as app:
        assert (await _ask(app.listening, "--tls-ca", trust, "--server-name", SERVER_NAME)).exit_code == 0
        assert (await _ask(app.listening, "--tls-ca", trust)).exit_code == 1
        assert (await _ask(app.listening, "--timeout", "0.5")).exit_code == 1


async def test_a_server_that_asks_for_certificates_is_shown_one(tmp_path: Path) -> None:
    """With mTLS a probe without a certificate is refused, as every client is."""
    authority = Authority(tmp_path)
    own = authority.ca.issue_cert("probe@nasfeat.test")
    certificate, key = tmp_path / "probe.pem", tmp_path / "probe.key"
    certificate.write_bytes(b"".join(one.bytes() for one in own.cert_chain_pems))
    key.write_bytes(own.private_key_pem.bytes())
    trusting = ("--tls-ca", authority.clients, "--server-name", SERVER_NAME)
    async with _secured(authority, mutual=True) as app:
        assert (await _ask(app.listening, *trusting, "--tls-cert", certificate, "--tls-key", key)).exit_code == 0
        assert (await _ask(app.listening, *trusting, "--timeout", "0.5")).exit_code == 1


@pytest.mark.parametrize("options", [("--tls-cert", "x"), ("--tls-key", "x"), ("--server-name", "x")])
async def test_what_does_not_belong_together_is_wrong_usage(options: tuple[str, str], tmp_path: Path) -> None:
    """Exit code 2, before anything is asked."""
    file = tmp_path / "x"
    file.touch()
    result = await _ask("127.0.0.1:1", options[0], file)
    assert result.exit_code == 2
    assert "--tls-ca" in result.stderr or "together" in result.stderr
