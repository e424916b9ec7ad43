"""The `nasfeat` command."""

import sys


def run() -> None:
    """Run the command, or say what to install."""
    try:
        from nasfeat_client.cli import main  # noqa: PLC0415 - it needs the cli extra, and this function says so
    except ModuleNotFoundError as error:
        sys.exit(f"nasfeat needs the cli extra: pip install 'nasfeat[cli]' ({error})")
    main.run()
