"""What is fuzzed, as plain values."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

Check = Callable[[bytes], None]
Mutation = Callable[[bytes, int], bytes]
"""Changes an input, which may become so many bytes long."""
Change = Callable[[bytes, Mutation, int, int], bytes]
"""Changes an input by means of a blind mutation, to no more than so many bytes, decided by a random number."""


def expect_message(error: Exception) -> None:
    """Look whether a refusal says why."""
    assert str(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One piece of the server that reads what others wrote.

    Attributes:
        name: of its folder in the corpus.
        what: what it reads, for people.
        open: gives a check, which raises whatever must not happen; with it goes what it needs.
        seeds: valid inputs to begin with.
        mutate: changes an input; None changes bytes blindly.
        words: what may stand in an input, and would seldom come about by chance.
        largest: bytes of an input at most.
    """

    name: str
    what: str
    open: Callable[[], AbstractContextManager[Check]]
    seeds: Callable[[], Iterable[bytes]]
    mutate: Change | None = None
    words: Sequence[bytes] = ()
    largest: int = 4096
