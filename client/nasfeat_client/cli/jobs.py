"""What the commands that send pictures do."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

import click

from nasfeat_client.cli.answers import answers
from nasfeat_client.cli.books import Destination, RunBook, picture_book, table_book
from nasfeat_client.cli.pictures.sources import STDIN, check_sources, count_of, pictures_of
from nasfeat_client.cli.progress import Progress, shown_progress
from nasfeat_client.cli.report import print_classes, print_summary
from nasfeat_client.cli.session import Session
from nasfeat_client.cli.tables.errors import ItemError
from nasfeat_client.cli.tally import Tally, tally
from nasfeat_client.result import Classification, Result
from nasfeat_client.types import ModelInfo, StreamOptions

if TYPE_CHECKING:
    from nasfeat_client.cli.live import LiveVideo
    from nasfeat_client.cli.video import Video


def extract(session: Session, sources: Sequence[str], destination: Destination, *, restart: bool) -> int:
    """Extract features of the pictures of `sources` into `destination`.

    Args:
        session: the server.
        sources: see `pictures_of`.
        destination: the table.
        restart: do not go on with a run that was ended early.

    Returns:
        The exit code.
    """
    check_sources(sources)
    with picture_book(destination, restart=restart) as book, session.served() as (client, model):
        pictures = book.remaining(pictures_of(sources))
        with shown_progress(None, quiet=session.as_json, done=book.done) as progress:
            _count_meanwhile(sources, progress)
            # Somebody may be typing there.
            at_hand = STDIN not in sources
            with closing(answers(client, pictures, outputs=destination.outputs, at_hand=at_hand)) as outcomes:
                gathered = tally(outcomes, progress, book)
            return _finish(session, gathered, model, book, progress)


def video(session: Session, source: "Video | LiveVideo", destination: Destination) -> int:
    """Extract features of the frames of `source` into `destination`; Ctrl-C ends a live one.

    Returns:
        The exit code.
    """
    cells = source.cells
    with (
        table_book(destination, lambda _, result: cells(result.frame_id)) as book,
        source,
        session.served() as (client, model),
    ):
        frames = source.frames(height=model.image_height, width=model.image_width)
        options = StreamOptions(outputs=destination.outputs, overload_policy=source.overload_policy)
        with shown_progress(source.expected_frames(), quiet=session.as_json) as progress:
            with closing(client.stream(frames, options)) as streamed, _ended_by_ctrl_c(source):
                gathered = tally(((f"frame {result.frame_id}", result) for result in streamed), progress, book)
            return _finish(session, gathered, model, book, progress)


@contextmanager
def _ended_by_ctrl_c(source: "Video | LiveVideo") -> Iterator[None]:
    """Let the first Ctrl-C end a live source, so that what is in flight is answered and written."""
    end = source.stop
    if not end:
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def on_signal(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        end()

    signal.signal(signal.SIGINT, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def classify(session: Session, sources: Sequence[str], top_k: int) -> int:
    """Print the most probable classes of the pictures of `sources`.

    Returns:
        The exit code.
    """
    check_sources(sources)
    book = _Classes()
    with session.served() as (client, model), shown_progress(None, quiet=session.as_json) as progress:
        _count_meanwhile(sources, progress)
        with closing(answers(client, pictures_of(sources), top_k=top_k)) as outcomes:
            gathered = tally(outcomes, progress, book)
    print_classes(gathered, model.identity, book.classified, as_json=session.as_json)
    return int(not gathered.all_well)


class _Classes:
    """The classes of each image that has some."""

    def __init__(self) -> None:
        self.classified: list[tuple[str, tuple[Classification, ...]]] = []

    def keep(self, name: str, result: Result) -> None:
        self.classified.append((name, result.classes))

    def fail(self, error: ItemError) -> None:
        """Nothing is kept of it: the user has been told."""


def _count_meanwhile(sources: Sequence[str], progress: Progress) -> None:
    """Tell `progress` how many pictures there are as soon as that is known: of millions it takes a while."""

    def count() -> None:
        # What cannot be counted is found again, and explained, where it is read.
        with suppress(OSError, click.ClickException):
            progress.set_total(count_of(sources))

    threading.Thread(target=count, name="nasfeat-count", daemon=True).start()


def _finish(session: Session, gathered: Tally, model: ModelInfo, book: RunBook, progress: Progress) -> int:
    """Write what there is, and say so."""
    if not (gathered.stopped_by or gathered.succeeded or gathered.failed or gathered.dropped or book.done):
        raise click.ClickException("there are no pictures")
    output = book.finish(progress, complete=not gathered.stopped_by)
    print_summary(
        gathered,
        model.identity,
        output,
        before=(book.done, book.failed),
        on_stdout=book.destination.on_stdout,
        as_json=session.as_json,
    )
    return int(not gathered.all_well or book.failed > 0)
