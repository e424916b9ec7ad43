"""A picture of the status page, as a browser shows it."""

import shutil
from pathlib import Path

from playwright.async_api import Error, Page, async_playwright

_LOOKS = 6
_WITHIN_MS = 60_000


async def take_picture(url: str, path: Path, *, token: str = "") -> str:
    """Take a picture of the status page at `url` once it has had something to show; returns what came of it.

    Args:
        url: where it is.
        path: where the picture goes.
        token: what the page is given if it asks for one.

    Raises:
        RuntimeError: there is no browser, no such page, or it shows nothing.
    """
    program = shutil.which("chromium")
    if not program:
        raise RuntimeError("Chromium is not installed: scripts/install_system_tools.sh chromium")
    try:
        async with async_playwright() as playwright:
            # It may run as root in a container, and sees one page of ours.
            browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            try:
                await _take(await browser.new_page(viewport={"width": 1280, "height": 1000}), url, path, token)
            finally:
                await browser.close()
    except Error as error:
        raise RuntimeError(f"no picture of {url}: {error}") from error
    return f"a picture of {url} is in {path}"


async def _take(page: Page, url: str, path: Path, token: str) -> None:
    page.set_default_timeout(_WITHIN_MS)
    await page.goto(url)
    if token:
        await page.locator("#token").fill(token)
        await page.keyboard.press("Enter")
    await page.locator("#devices h3").first.wait_for()
    for _ in range(_LOOKS):
        await page.wait_for_event("response", lambda reply: reply.url.endswith("/status.json"))
    await page.screenshot(path=path, full_page=True)
