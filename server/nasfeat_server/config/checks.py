"""How a part of the configuration says what is wrong with it."""

from nasfeat_server.errors import InvalidSettingsError


def refuse(*checks: tuple[str, bool, str]) -> None:
    """Raise what is wrong, if anything is: of each field whether it fails, and what is allowed."""
    wrong = tuple((field, message) for field, fails, message in checks if fails)
    if wrong:
        raise InvalidSettingsError(wrong)
