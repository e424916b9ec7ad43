"""The protocols of other servers that are spoken beside our own."""

from enum import StrEnum

from nasfeat_server.errors import ConfigurationError

NONE = "none"
"""In place of a list of them."""


class Facade(StrEnum):
    """One of them."""

    OPEN_INFERENCE = "open-inference"
    TENSORFLOW_SERVING = "tensorflow-serving"


def facades_of(text: str) -> tuple[Facade, ...]:
    """Read names with commas between them, or "none".

    Raises:
        ConfigurationError: one is not known.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names == [NONE]:
        return ()
    known = {str(facade) for facade in Facade}
    if unknown := [name for name in names if name not in known]:
        raise ConfigurationError(f"there is no facade {unknown[0]!r}; there are {', '.join(sorted(known))}, or {NONE}")
    return tuple(facade for facade in Facade if facade in names)
