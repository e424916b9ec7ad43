"""The `nasfeat-server` command."""

import sys

NEEDED = "nasfeat-server needs the server extra: pip install 'nasfeat[server]'"


def run() -> None:
    """Start the command, or say how to install what it needs."""
    try:
        from nasfeat_server.cli.main import main  # noqa: PLC0415 - the message below is for whoever lacks click
    except ImportError as error:
        sys.exit(f"{NEEDED} ({error})")
    main()
