"""Writes docs/CONFIGURATION.md from the declarations of the settings: `python -m tests.cli.configuration_page`."""

from pathlib import Path

from nasfeat_server.cli.serve import serve
from nasfeat_server.cli.settings.option import Setting

_PAGE = Path(__file__).parents[2] / "docs" / "CONFIGURATION.md"

_HEAD = """# Configuration

This page is made from the program: `python -m tests.cli.configuration_page` writes it, and a test holds it to that.

Every setting of the server is a flag, a variable and a key of a TOML file. The first of these that has it wins:

1. the flag: `nasfeat-server serve --max-streams 200`;
2. the variable, `NASFEAT_SERVER_` and the flag's name in capitals with `_` for `-`: `NASFEAT_SERVER_MAX_STREAMS=200`;
3. the file that `--config FILE`, or `NASFEAT_SERVER_CONFIG`, names; its tables are the sections below;
4. the default.

```toml
[model]
weights = "/models/nasnet_large"
model-version = "spring"

[engine]
devices = ["gpu:0", "gpu:1"]

[limits]
max-streams = 200
```

```
nasfeat-server config --config nasfeat.toml          what that makes, and where each value comes from; itself a file
nasfeat-server check-config --config nasfeat.toml    everything that is wrong; what the file names is looked at
nasfeat-server serve --config nasfeat.toml
```

Values are checked before anything starts, all of them: each wrong one is named with where it stands and what is
allowed, and the exit code is 2. A table or key that there is not is an error, too. A switch is `true` or `false` in the
file and as a variable.
"""


def page() -> str:
    """Give the whole page."""
    sections: dict[str, list[Setting]] = {}
    for setting in serve.settings():
        sections.setdefault(setting.section, []).append(setting)
    return "\n".join([_HEAD, *(_section(name, settings) for name, settings in sections.items())])


def _section(name: str, settings: list[Setting]) -> str:
    rows = (f"| `{setting.key}` | {_default(setting)} | {_meaning(setting)} |" for setting in settings)
    return "\n".join([f"## [{name}]", "", "| key | default | meaning |", "|---|---|---|", *rows, ""])


def _default(setting: Setting) -> str:
    if setting.own_default is not None:
        value = setting.own_default
        return f"`{str(value).lower() if isinstance(value, bool) else value}`"
    _, found, rest = (setting.help or "").partition("[default: ")
    return rest.removesuffix("]") if found else "not set"


def _meaning(setting: Setting) -> str:
    meaning = (setting.help or "").partition("  [default: ")[0].replace("|", "\\|")
    choices = getattr(setting.type, "choices", None)
    return f"{meaning} One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else meaning


if __name__ == "__main__":
    _PAGE.write_text(page())
