"""The main program of a front end's process, started by the server: `python -m nasfeat_server.cli.front_end FD FD`."""

import asyncio
import sys

from nasfeat_server.app.front_ends.process import main
from nasfeat_server.cli.allocator import keep_freed_memory

if __name__ == "__main__":
    keep_freed_memory()
    asyncio.run(main(*map(int, sys.argv[1:])))
