"""What every command is told of the server and of its own output."""

from dataclasses import dataclass

import click

from nasfeat_client.config import ClientConfig
from nasfeat_client.sync import FeatureClient
from nasfeat_client.types import ModelInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Where the server is and how to talk to the user.

    Attributes:
        target: "host:port", or several with commas between them.
        timeout_s: seconds that a call may take.
        as_json: print one JSON document and no progress.
    """

    target: str
    timeout_s: float
    as_json: bool

    def client(self) -> FeatureClient:
        """Make a client for the server."""
        return FeatureClient(self.target.split(","), config=ClientConfig(call_timeout_s=self.timeout_s))


def described_model(client: FeatureClient) -> ModelInfo:
    """Ask for the default model, and warn on stderr if its results mean nothing."""
    model = client.model()
    if not model.identity.trained:
        source = model.identity.weights_source
        click.echo(f"Warning: the server's weights are untrained ({source}): the results mean nothing.", err=True)
    return model
