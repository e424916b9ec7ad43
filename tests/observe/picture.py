"""A picture of a page, as a browser shows it."""

import asyncio
import contextlib
import shutil
import tempfile
import urllib.request
from pathlib import Path

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_WITHIN_S = 60.0
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # It runs as root in containers, and sees one page of ours.
    "--disable-gpu",
    "--hide-scrollbars",
    "--window-size=1280,1600",
    "--timeout=4000",  # Milliseconds until the picture: a page that asks the server every second has something to show.
)


async def take_picture(url: str, path: Path) -> str:
    """Take a picture of the page at `url` with a headless Chromium; returns what came of it, in a line.

    Raises:
        RuntimeError: there is a page and a browser, and no picture came of them.
    """
    if not await asyncio.to_thread(_is_page, url):
        return f"no picture: there is no page at {url}"
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if not browser:
        return "no picture: Chromium is not installed: scripts/install_system_tools.sh chromium"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        printed = await _run(browser, *_OPTIONS, f"--user-data-dir={profile}", f"--screenshot={path}", url)
    if not await asyncio.to_thread(path.is_file):
        raise RuntimeError(f"{browser} took no picture of {url}: {printed[-500:]}")
    return f"a picture of {url} is in {path}"


async def _run(*command: str) -> str:
    """Run a program for so long at most; give what it printed, or nothing if it had to be killed."""
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WITHIN_S):
                printed, _ = await child.communicate()
                return printed.decode(errors="replace")
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
    return ""


def _is_page(url: str) -> bool:
    with urllib.request.urlopen(url, timeout=10) as reply:  # noqa: S310 - of our own server
        return bool(reply.headers.get_content_type() == "text/html")
