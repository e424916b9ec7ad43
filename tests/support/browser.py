"""A real Chromium without a window, and pages that must not complain."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from playwright.async_api import Browser, Page, async_playwright, expect

from checkers import installed
from nasfeat_server.config import Endpoint

# Machines have other work, too.
_WITHIN_MS = 30_000


@contextlib.asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """Run a browser until the context ends; skips the test where there is none."""
    program = installed("chromium", "chromium")
    expect.set_options(timeout=_WITHIN_MS)
    async with async_playwright() as playwright:
        # It may run as root in a container, and sees nothing but pages of ours.
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()


class Visit:
    """One visit to a page, and what happened behind it.

    Attributes:
        page: the page.
        complaints: of the browser's console, and errors of scripts.
        requests: the addresses of all requests.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))


@contextlib.asynccontextmanager
async def visiting(
    browser: Browser, endpoint: Endpoint | None, *, width: int = 1280, height: int = 900, **options: Any
) -> AsyncIterator[Visit]:
    """Open the status page at `endpoint` with a fresh profile."""
    context = await browser.new_context(viewport={"width": width, "height": height}, **options)
    try:
        visit = Visit(await context.new_page())
        await visit.page.goto(f"http://{endpoint}/")
        yield visit
    finally:
        await context.close()
