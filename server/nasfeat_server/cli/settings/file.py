"""The TOML file with settings: a table for each section, a key for each flag."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nasfeat_server.cli.settings.option import Setting
from nasfeat_server.config.toml import parse_toml
from nasfeat_server.errors import ConfigurationError

# What a value of TOML may be for an option of a kind; a whole number is a number too.
_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "integer": ((int,), "a whole number"),
    "integer range": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "float range": ((int, float), "a number"),
    "boolean": ((bool,), "true or false"),
    "front_ends": ((int, str), "a whole number or 'auto'"),
}
_LISTS = frozenset({"devices", "facades"})
_TEXT = ((str,), "a text in quotes")


def read_file(path: Path, settings: Sequence[Setting]) -> tuple[dict[str, Any], list[str]]:
    """Read the settings of a file.

    Returns:
        The values by the options' names, and what is wrong with the file, all of it.
    """
    try:
        document = parse_toml(path.read_bytes())
    except OSError as error:
        return {}, [f"{path} cannot be read: {error}"]
    except ConfigurationError as error:
        return {}, [f"{path}: {error}"]
    known = {(setting.section, setting.key): setting for setting in settings}
    values: dict[str, Any] = {}
    problems: list[str] = []
    for section, table in document.items():
        sections = {setting.section for setting in settings}
        if section not in sections or not isinstance(table, dict):
            problems.append(f"{path}: there is no table [{section}]{_near(section, sections)}")
            continue
        for key, value in table.items():
            found = known.get((section, key))
            if not found:
                problems.append(f"{path}: [{section}] has no key {key!r}{_nearest(section, key, settings)}")
            elif problem := _problem(found, value):
                problems.append(f"{path}: [{section}] {key}: {problem}")
            else:
                values[found.name or key] = ",".join(value) if isinstance(value, list) else value
    return values, problems


def _problem(setting: Setting, value: Any) -> str:
    if isinstance(value, list):
        listed = setting.key in _LISTS and all(isinstance(part, str) for part in value)
        return "" if listed else f"{value!r} is a list; one value is wanted"
    types, wanted = _KINDS.get("boolean" if setting.is_flag else setting.type.name, _TEXT)
    # To Python, true is a number.
    fits = isinstance(value, types) and (bool in types or not isinstance(value, bool))
    return "" if fits else f"{value!r} is not {wanted}"


def _nearest(section: str, key: str, settings: Sequence[Setting]) -> str:
    elsewhere = [setting.section for setting in settings if setting.key == key]
    if elsewhere:
        return f"; it belongs to [{elsewhere[0]}]"
    return _near(key, {setting.key for setting in settings if setting.section == section})


def _near(word: str, words: set[str]) -> str:
    near = difflib.get_close_matches(word, sorted(words), n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(words))}"


def toml_value(value: Any) -> str | int | float | bool:
    """Give an option's value as the file has it."""
    return value if isinstance(value, bool | int | float) else str(value)
