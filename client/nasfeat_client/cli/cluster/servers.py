"""Vectors by servers, which an actor asks in streams."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from typing import Any

import click

from nasfeat_client.cli.answers import answers
from nasfeat_client.cli.cluster.order import Servers
from nasfeat_client.cli.pictures.picture import Picture
from nasfeat_client.cli.tables.errors import ItemError
from nasfeat_client.cli.tally import SERVERS_FAULT
from nasfeat_client.result import Array, Result
from nasfeat_client.sync import FeatureClient

_TRIES = 4
_PAUSE_S = 2.0


class ServersExtractor:
    """See `extracting.Extractor`.

    Args:
        servers: to be asked.
        outputs: the outputs wanted.
        pause: waits so many seconds before the next try.
    """

    def __init__(
        self, servers: Servers, outputs: Sequence[str], *, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._outputs = tuple(outputs)
        self._pause = pause
        with FeatureClient(servers.targets, config=servers.config) as asking:
            identity = asking.model().identity
        self.identity: Mapping[str, Any] = asdict(identity)
        # All vectors are of one version, also when another becomes the stable one.
        self._client = FeatureClient(servers.targets, config=replace(servers.config, model=identity.version))

    def extract(self, images: Sequence[bytes]) -> list[Mapping[str, Array] | tuple[str, str]]:
        """Give the outputs of each of `images`, or why it has none.

        Raises:
            NasfeatError: the servers cannot be reached, or refuse.
            click.ClickException: they fail for reasons of their own, time and again.
        """
        found: dict[int, Mapping[str, Array] | tuple[str, str]] = {}
        for attempt in range(_TRIES):
            faults = self._ask(images, [at for at in range(len(images)) if at not in found], found)
            if not faults:
                return [found[at] for at in range(len(images))]
            if attempt < _TRIES - 1:
                self._pause(_PAUSE_S * 2**attempt)
        raise click.ClickException(
            f"the servers failed {len(faults)} images {_TRIES} times, the last one: {faults[-1]}"
        )

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    def _ask(
        self, images: Sequence[bytes], wanted: Sequence[int], found: dict[int, Mapping[str, Array] | tuple[str, str]]
    ) -> list[str]:
        """Put into `found` what becomes of the images `wanted`; gives the failures that are the servers' own."""
        pictures = (Picture(name=str(at), read=lambda at=at: images[at]) for at in wanted)  # type: ignore[misc]
        faults: list[str] = []
        with closing(answers(self._client, pictures, outputs=self._outputs)) as outcomes:
            for name, outcome in outcomes:
                if isinstance(outcome, ItemError):
                    found[int(name)] = (outcome.reason, outcome.message)
                elif outcome.error and outcome.error.reason in SERVERS_FAULT:
                    faults.append(outcome.error.message)
                else:
                    found[int(name)] = _outcome(outcome, self._outputs)
        return faults


def _outcome(result: Result, outputs: Sequence[str]) -> Mapping[str, Array] | tuple[str, str]:
    if result.error:
        return result.error.reason.name, result.error.message
    return {name: result.outputs[name] for name in outputs}
