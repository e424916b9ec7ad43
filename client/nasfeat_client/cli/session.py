"""What every command is told of the server and of its own output."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import click

from nasfeat_client.config import ClientConfig, TlsConfig
from nasfeat_client.sync import FeatureClient
from nasfeat_client.types import ModelInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Where the server is and how to talk to it, and to the user.

    Attributes:
        target: "host:port", or several with commas between them.
        version: the version of the model; "" takes the stable one.
        timeout_s: seconds that a call may take.
        tls: speak TLS.
        tls_ca: whom to trust; None means whom gRPC trusts.
        tls_cert: the client's own certificate.
        tls_key: its key.
        token_file: has the token to send; None takes what NASFEAT_TOKEN has.
        as_json: print one JSON document and no progress.
    """

    target: str
    timeout_s: float
    version: str = ""
    tls: bool = False
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    token_file: Path | None = None
    as_json: bool = False

    @property
    def targets(self) -> list[str]:
        """Each of the servers."""
        return self.target.split(",")

    def config(self) -> ClientConfig:
        """Give the client's configuration.

        Raises:
            click.UsageError: the options contradict each other.
        """
        token = self.token_file.read_text().strip() if self.token_file else os.environ.get("NASFEAT_TOKEN")
        files = (self.tls_ca, self.tls_cert, self.tls_key)
        tls = None
        try:
            if self.tls or any(files):
                ca, cert, key = (path.read_bytes() if path else None for path in files)
                tls = TlsConfig(root_certificates=ca, certificate_chain=cert, private_key=key)
        except ValueError:
            raise click.UsageError("--tls-cert and --tls-key are given together or not at all") from None
        return ClientConfig(call_timeout_s=self.timeout_s, model=self.version, tls=tls, token=token or None)

    @contextlib.contextmanager
    def served(self) -> Iterator[tuple[FeatureClient, ModelInfo]]:
        """Give one version of the model, and a client that asks for no other: all results compare."""
        with self.client() as asking:
            model = described_model(asking)
        with replace(self, version=model.identity.version).client() as client:
            yield client, model

    def client(self) -> FeatureClient:
        """Make a client for the server."""
        config = self.config()
        try:
            return FeatureClient(self.targets, config=config)
        except ValueError as error:
            raise click.UsageError(str(error)) from error


def taken(options: Mapping[str, Any]) -> tuple[Session, dict[str, Any]]:
    """Take a session's options out of a command's; gives the session and the others."""
    names = {field.name for field in fields(Session)}
    own = {name: value for name, value in options.items() if name in names}
    return Session(**own), {name: value for name, value in options.items() if name not in names}


def described_model(client: FeatureClient) -> ModelInfo:
    """Ask for the model that the client wants, and warn on stderr if its results mean nothing."""
    model = client.model()
    if not model.identity.trained:
        source = model.identity.weights_source
        click.echo(f"Warning: the server's weights are untrained ({source}): the results mean nothing.", err=True)
    return model
