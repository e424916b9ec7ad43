"""A real Prometheus server over expositions that a test makes."""

import asyncio
import contextlib
import json
import re
import threading
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from checkers import installed

Exposition = Callable[[str], tuple[bytes, str]]


@contextlib.contextmanager
def exposing(expositions: Mapping[str, Exposition]) -> Iterator[str]:
    """Serve each exposition under its name as a path; gives "host:port"."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body, content_type = expositions[self.path.strip("/")](self.headers.get("Accept", ""))
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            # A server that is stopped in the middle of a scrape does not read it.
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()


class Scraper:
    """A Prometheus server that runs."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Evaluate `expression` now: the labels and value of every series, native histograms by their count."""
        url = f"http://{self._address}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        answer = await asyncio.to_thread(_get, url)
        return [
            (one["metric"], float(one["value"][1] if "value" in one else one["histogram"][1]["count"]))
            for one in answer["data"]["result"]
        ]

    async def value(self, expression: str) -> float:
        """Evaluate what has one series, as soon as it has; the test's own timeout bounds the wait."""
        while True:
            if found := await self.query(expression):
                [(_, value)] = found
                return value
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def scraping(target: str, jobs: Mapping[str, str], folder: Path, *, native: bool) -> AsyncIterator[Scraper]:
    """Run a server that scrapes `target` five times a second, until the context ends.

    Args:
        target: "host:port".
        jobs: the paths to scrape, by the names of the jobs.
        folder: where it may write.
        native: let it ask for native histograms.
    """
    config = {
        "global": {"scrape_interval": "200ms"},
        "scrape_configs": [
            {"job_name": name, "metrics_path": path, "static_configs": [{"targets": [target]}]}
            for name, path in jobs.items()
        ],
    }
    # JSON is YAML.
    (folder / "prometheus.yml").write_text(json.dumps(config))
    process = await asyncio.create_subprocess_exec(
        installed("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--web.listen-address=127.0.0.1:0",
        *(["--enable-feature=native-histograms"] if native else []),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Scraper(await _address(process))
    finally:
        process.terminate()
        await process.communicate()


async def _address(process: asyncio.subprocess.Process) -> str:
    log = process.stderr
    if not log:
        raise AssertionError("its log is read")
    address, ready = "", False
    while line := (await log.readline()).decode():
        if found := re.search(r'msg="Listening on" address=(\S+)', line):
            address = found[1]
        ready = ready or "Server is ready" in line
        # In either order.
        if address and ready:
            return address
    raise AssertionError("Prometheus did not start")


def _get(url: str) -> Any:
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - of our own server
        return json.load(answer)
