"""A web server on this machine that serves files and misbehaves as it is told."""

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(slots=True, kw_only=True)
class Site:
    """What the server serves, and how.

    Attributes:
        files: contents by path, e.g. "/weights.h5".
        url: where it is, without a path.
        ranges: whether parts of files can be asked for.
        tag: the entity tag of every file; none is sent if empty.
        limits: how many bytes of the body each following answer sends before it breaks off; none are left, no limit.
        announced: send Content-Length.
        requests: the path and the range of each request that came.
        gate: answers wait for it to be set, as it is at first.
    """

    files: dict[str, bytes]
    url: str = ""
    ranges: bool = True
    tag: str = '"1"'
    limits: list[int] = field(default_factory=list)
    announced: bool = True
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Site]:
    """Serve `files` on a free port until the context ends."""
    site = Site(files=files)
    site.gate.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(self, site)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield site
        finally:
            site.gate.set()
            server.shutdown()
            thread.join()


def _answer(request: BaseHTTPRequestHandler, site: Site) -> None:
    path = request.path.partition("?")[0]
    wanted = request.headers.get("Range")
    site.requests.append((path, wanted))
    site.gate.wait()
    if path not in site.files:
        request.send_error(404)
        return
    whole = site.files[path]
    start = 0
    if wanted and site.ranges and request.headers.get("If-Range") == site.tag:
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])  # type: ignore[index]
    if start >= len(whole):
        request.send_error(416)
        return
    request.send_response(206 if start else 200)
    if start:
        request.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
    if site.announced:
        request.send_header("Content-Length", str(len(whole) - start))
    if site.tag:
        request.send_header("ETag", site.tag)
    request.end_headers()
    limit = site.limits.pop(0) if site.limits else len(whole)
    with contextlib.suppress(ConnectionError):
        request.wfile.write(whole[start:][:limit])
