"""Pictures sent to the server, each with what became of it."""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing

from nasfeat_client.cli.pictures.picture import Picture
from nasfeat_client.cli.tables.errors import ItemError
from nasfeat_client.images import Image
from nasfeat_client.result import Result
from nasfeat_client.sync import FeatureClient
from nasfeat_client.types import ErrorReason, StreamOptions

# Of small pictures a message costs as much as its content.
_FRAMES_PER_MESSAGE = 8


def answers(
    client: FeatureClient,
    pictures: Iterator[Picture],
    *,
    outputs: Sequence[str] = (),
    top_k: int = 0,
    at_hand: bool = True,
) -> Generator[tuple[str, Result | ItemError], None, None]:
    """Give the name and the result of each picture, or why it could not be read, in their order.

    Pictures are read as fast as they are answered, and no more of them are held than are in flight.

    Args:
        client: speaks to the server.
        pictures: to be sent.
        outputs: the outputs wanted, by name.
        top_k: how many classes to name.
        at_hand: the next picture is there as soon as it is asked for; otherwise none waits for others to travel with.

    Raises:
        NasfeatError: the stream as a whole failed.
        click.ClickException: the source of the pictures failed.
    """
    waiting: deque[tuple[str, ItemError | None]] = deque()

    def images() -> Iterator[Image]:
        for picture in pictures:
            try:
                image = picture.read()
            except OSError as error:
                message = f"cannot read {picture.name}: {error.strerror or error}"
                unreadable = ItemError(name=picture.name, reason=ErrorReason.INVALID_IMAGE.name, message=message)
                waiting.append((picture.name, unreadable))
            else:
                waiting.append((picture.name, None))
                yield image

    per_message = _FRAMES_PER_MESSAGE if at_hand else 1
    options = StreamOptions(outputs=tuple(outputs), top_k=top_k, frames_per_message=per_message)
    with closing(client.stream(images(), options)) as results:
        for result in results:
            yield from _unreadable_first(waiting)
            yield waiting.popleft()[0], result
    yield from _unreadable_first(waiting)


def _unreadable_first(waiting: "deque[tuple[str, ItemError | None]]") -> Iterator[tuple[str, ItemError]]:
    """Take those that were not sent from before the next that was."""
    while waiting and (error := waiting[0][1]):
        yield waiting.popleft()[0], error
