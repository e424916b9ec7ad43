"""What a module says of itself beside its variables: the file `nasfeat.json` in a SavedModel's `assets.extra`.

`nasfeat-server export` and `fine-tune` write it; with it, a module is served without being told its variant.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from nasfeat_server.errors import WeightsError
from nasfeat_server.network.spec import NetworkSpec, spec_of

_FILE = Path("assets.extra") / "nasfeat.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What is known of a module's weights.

    Attributes:
        spec: the network that they fit.
        labels: the names of the classifier's classes, in order; empty if there is none, or no names.
        trained: False for random weights.
    """

    spec: NetworkSpec
    labels: tuple[str, ...]
    trained: bool


def write_card(directory: Path, card: ModelCard) -> None:
    """Write `card` into the module `directory`."""
    path = directory / _FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dataclasses.asdict(card), indent=2, ensure_ascii=False) + "\n")


def read_card(directory: Path) -> ModelCard | None:
    """Read the card of the module `directory`; None if it has none, as modules of other makers.

    Raises:
        WeightsError: the card is there and makes no sense.
    """
    path = directory / _FILE
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_text())
        return ModelCard(
            spec=spec_of(document["spec"]),
            labels=tuple(map(str, document["labels"])),
            trained=bool(document["trained"]),
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise WeightsError(f"{path} does not describe a module: {error!r}") from error
