"""The stages of a run on a cluster, one part after the other in this process: without Ray."""

from collections.abc import Iterator
from contextlib import closing

from nasfeat_client.cli.cluster.extracting import Extracting
from nasfeat_client.cli.cluster.locations import Location
from nasfeat_client.cli.cluster.order import Order
from nasfeat_client.cli.cluster.plan import Item
from nasfeat_client.cli.cluster.reading import block_of, read
from nasfeat_client.cli.cluster.writing import RECORD, write
from nasfeat_client.types import ModelIdentity


def inline(order: Order, parts: list[list[Item]], before: ModelIdentity | None) -> Iterator[bytes]:
    """Read, extract and write each part, and give its record; see `conducting.Stages`."""
    extracting = Extracting(order, before, gpu=False)
    with closing(extracting):
        for part in parts:
            written = write(extracting(read(block_of(part))), Location.parse(order.output))
            yield from written[RECORD].to_pylist()
