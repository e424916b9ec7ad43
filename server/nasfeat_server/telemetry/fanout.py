"""Several observers as one."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol, get_args

from nasfeat_server.telemetry.events import Event


class SelectiveObserver(Protocol):
    """An observer of some kinds of events."""

    @property
    def wanted(self) -> Collection[type[Any]]:
        """The kinds that `observe` takes."""
        ...

    def observe(self, event: Any) -> None:
        """Take note of `event`, of one of these kinds."""
        ...


class Fanout:
    """Tells each event to those who want its kind: nobody pays for what others want to know."""

    def __init__(self, *observers: SelectiveObserver) -> None:
        """Tell `observers`, in their order."""
        self._told: Mapping[type[Any], Callable[[Any], None]] = {
            kind: _all([observer.observe for observer in observers if kind in observer.wanted])
            for kind in get_args(Event)
        }

    def observe(self, event: Event) -> None:
        """Tell `event`."""
        self._told[type(event)](event)


def _all(told: Iterable[Callable[[Any], None]]) -> Callable[[Any], None]:
    first, *others = told or (_nobody,)
    if not others:
        return first

    def tell(event: Any) -> None:
        first(event)
        for other in others:
            other(event)

    return tell


def _nobody(_: Any) -> None:
    pass
