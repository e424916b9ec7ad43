"""The main program of the short-lived process that fetches the weights, so that the server's own stays light.

It is started by `nasfeat_server.engine.locating` with one JSON argument and writes JSON lines to its standard output:
{"progress": text} while it works, then {"located": ...} or {"refused": message}.
"""

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nasfeat_server.errors import ConfigurationError
from nasfeat_server.network.weights.locate import locate


def main() -> None:
    """Locate what the first argument names."""
    order: Mapping[str, Any] = json.loads(sys.argv[1])
    # The lines go where standard output went; what libraries print there must not come between them.
    with os.fdopen(os.dup(1), "w", buffering=1) as out, contextlib.suppress(BrokenPipeError):
        os.dup2(2, 1)

        def tell(**message: object) -> None:
            out.write(json.dumps(message) + "\n")

        try:
            located = locate(
                order["source"],
                order["variant"],
                keras_wiring=order["keras_wiring"],
                cache_dir=Path(order["cache"]) if order["cache"] else None,
                report=lambda text: tell(progress=text),
            )
        except ConfigurationError as error:
            tell(refused=str(error))
        else:
            tell(located=dataclasses.asdict(located))


if __name__ == "__main__":
    main()
