"""Pictures of pages, taken by a real browser where there is one."""

import asyncio
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image
from tests.observe.picture import take_picture


class Pages(BaseHTTPRequestHandler):
    """A green page at /page, and a text anywhere else."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if self.path == "/page" else "text/plain")
        self.end_headers()
        self.wfile.write(b"<!doctype html><body style='background: #00ff00'></body>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def site() -> Iterator[str]:
    """A web server of these pages."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join()


async def test_a_page_is_pictured_as_it_looks(site: str, tmp_path: Path) -> None:
    """The picture has the page's colour."""
    if not shutil.which("chromium"):
        pytest.skip("Chromium is missing: scripts/install_system_tools.sh chromium")
    assert "is in" in await take_picture(f"{site}/page", tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as picture:
        assert picture.convert("RGB").getpixel((600, 300)) == (0, 255, 0)


def test_what_is_no_page_is_not_pictured(site: str, tmp_path: Path) -> None:
    """Metrics as text would be a picture of nothing."""
    assert "no page" in asyncio.run(take_picture(f"{site}/metrics", tmp_path / "page.png"))
    assert not list(tmp_path.iterdir())
