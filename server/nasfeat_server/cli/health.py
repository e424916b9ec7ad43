"""`nasfeat-server health`: what containers and supervisors ask where they speak no gRPC, or no TLS."""

from pathlib import Path

import click

from nasfeat_server.rpc.health_client import ProbeTls, ask_health

_PEM = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command
@click.option("--target", default="localhost:50051", metavar="HOST:PORT", help="The server.")
@click.option(
    "--service",
    default="",
    show_default="the whole server, which takes work",
    metavar="NAME",
    help="Whose health: 'liveness' for whether the process answers, whatever its replicas do.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    help="Seconds that the answer may take.",
)
@click.option(
    "--tls-ca", type=_PEM, help="Speak TLS; who may have signed the server's certificate, PEM. That itself will do."
)
@click.option("--tls-cert", type=_PEM, help="The certificate to show to a server that asks for one, PEM.")
@click.option("--tls-key", type=_PEM, help="Its key, PEM.")
@click.option("--server-name", metavar="NAME", help="The name in the server's certificate, if not the target's.")
def health(
    *,
    target: str,
    service: str,
    timeout_s: float,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    server_name: str | None,
) -> None:
    """Ask a server by grpc.health.v1 whether it serves: exit code 0 if it does, else 1.

    It loads neither the server nor a framework, so that it may run every few seconds.
    """
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key are given together or not at all")
    if not tls_ca and (tls_cert or server_name):
        raise click.UsageError("--tls-cert and --server-name need --tls-ca")
    tls = None
    if tls_ca:
        tls = ProbeTls(
            authorities=tls_ca.read_bytes(),
            certificate=tls_cert.read_bytes() if tls_cert else None,
            key=tls_key.read_bytes() if tls_key else None,
            server_name=server_name,
        )
    found = ask_health(target, service, timeout_s=timeout_s, tls=tls)
    if not found.serving:
        raise click.ClickException(f"{target}: {found.told}")
    click.echo(found.told)
