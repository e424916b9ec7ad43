"""The first stage: a node reads the pictures of a part."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from nasfeat_client.cli.cluster.locations import Location, Storage, why
from nasfeat_client.cli.cluster.plan import Item
from nasfeat_client.types import ErrorReason

NAME, REASON, MESSAGE, IMAGE = "name", "reason", "message", "image"
"""The columns of a block whose pictures are read: bytes, or why there are none."""

# Objects come with a delay, whatever their size.
_READERS = 16
# What is larger is no picture that anything takes: so much is read that it is found too large.
_MOST_BYTES = 2**28
_TRIES = 4
_PAUSE_S = 0.5
# Of these, a second try would say the same. Others may be of the network, or of whoever guards the store.
_LASTING = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


class StorageError(Exception):
    """A store does not answer."""


def block_of(part: list[Item]) -> Any:
    """Give the block of a part whose pictures are to be read."""
    locations = [item.location for item in part]
    return pa.table({key: [getattr(location, key) for location in locations] for key in Location.__slots__})


def read(block: Any, *, pause: Callable[[float], None] = time.sleep) -> Any:
    """Read the pictures that a block of `block_of` names.

    Args:
        block: of one part.
        pause: waits so many seconds before the next try.

    Returns:
        A table with the columns `NAME`, `REASON`, `MESSAGE`, both "" of pictures that were read, and `IMAGE`.

    Raises:
        StorageError: no picture could be read, and not for a reason of its own.
    """
    locations = [Location(**row) for row in block.to_pylist()]
    storages: dict[tuple[str, str], Storage] = {}
    for location in locations:
        key = (location.root, location.query)
        if key not in storages:
            storages[key] = Storage(location)
    with ThreadPoolExecutor(_READERS) as readers:
        found = list(
            readers.map(lambda location: _read(storages[location.root, location.query], location, pause), locations)
        )
    failed = [one for one in found if isinstance(one, OSError)]
    if len(failed) == len(found) and not any(isinstance(error, _LASTING) for error in failed):
        raise StorageError(f"cannot read {locations[-1].name} nor {len(found) - 1} others: {failed[-1]}")
    return _table(locations, found)


def _read(storage: Storage, location: Location, pause: Callable[[float], None]) -> bytes | OSError:
    for attempt in range(_TRIES):
        try:
            return storage.read(location, _MOST_BYTES)
        except OSError as error:
            if isinstance(error, _LASTING) or attempt == _TRIES - 1:
                return error
        pause(_PAUSE_S * 2**attempt)
    raise AssertionError("the last try returns")


def _table(locations: list[Location], found: list[bytes | OSError]) -> Any:
    columns: Mapping[str, list[Any]] = {NAME: [], REASON: [], MESSAGE: [], IMAGE: []}
    for location, one in zip(locations, found, strict=True):
        failed = isinstance(one, OSError)
        columns[NAME].append(location.name)
        columns[REASON].append(ErrorReason.INVALID_IMAGE.name if failed else "")
        columns[MESSAGE].append(f"cannot read {location.name}: {why(one)}" if isinstance(one, OSError) else "")
        columns[IMAGE].append(b"" if isinstance(one, OSError) else one)
    return pa.table({name: pa.array(column, _TYPES[name]) for name, column in columns.items()})


_TYPES = {NAME: pa.string(), REASON: pa.string(), MESSAGE: pa.string(), IMAGE: pa.large_binary()}
