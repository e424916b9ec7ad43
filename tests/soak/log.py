"""What must not stand in the server's log: errors that nobody foresaw."""

import re

_RECORD = re.compile(r"\S+ \S+ (?P<level>ERROR|CRITICAL)\s+(?P<logger>\S+): (?P<message>.*)")
# What asyncio and the interpreter write without a logger's line, or at a level that says too little.
_UNHANDLED = re.compile(r"never retrieved|never awaited|Exception ignored|Fatal Python error")
_FORESEEN = {
    # A device in quarantine, a replica that was killed while it started.
    "nasfeat_server.engine.fleet": re.compile(r"device \S+ is in quarantine|replica \S+ did not start"),
    # The caller was gone when its answer was sent; grpc says so itself.
    "grpc._cython.cygrpc": re.compile(r"ExecuteBatchError raised in core by servicer method"),
}


def complaints(log: str) -> tuple[str, ...]:
    """Give the lines of a server's log that a soak does not account for."""
    return tuple(line for line in log.splitlines() if _UNHANDLED.search(line) or _is_unforeseen(line))


def _is_unforeseen(line: str) -> bool:
    record = _RECORD.match(line)
    if not record:
        return False
    foreseen = _FORESEEN.get(record["logger"])
    return not (foreseen and foreseen.match(record["message"]))
