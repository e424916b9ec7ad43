"""The status page as people see it, in a real browser."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, FilePayload, Page, expect

import webserver
from browser import browsing, visiting
from credentials import write_tokens
from nasfeat_server.app import App
from nasfeat_server.config import RequestLimits, SecurityConfig, StatusPage
from pages import serving_page
from photographs import picture
from serving import connected, frame, next_result, opening, running

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]

_HOSTILE = "<img src=x onerror=document.title='owned'>" + "w" * 80
_PHONE: dict[str, Any] = {"width": 360, "height": 740, "has_touch": True, "is_mobile": True}
_FILES: list[FilePayload] = [
    {"name": name, "mimeType": "image/png", "buffer": content}
    for name, content in (
        ("cat.png", picture(1)),
        ("the same cat, noisy.png", picture(1, noise=0.05)),
        ("dog.png", picture(7)),
        ("no picture.png", b"no picture"),
    )
]
# Each way that a script has to ask another site.
_ATTACK = """async (target) => {
  const marked = {"X-Nasfeat-Page": "1", "Content-Type": "application/octet-stream"};
  const ways = [
    ["/status.json", {}],
    ["/try", {method: "POST", headers: marked, body: "GIF89a"}],
    ["/try", {method: "POST", headers: {"Content-Type": "text/plain"}, body: "GIF89a"}],
    ["/status.json", {mode: "no-cors"}],
    ["/try", {mode: "no-cors", method: "POST", headers: marked, body: "GIF89a"}],
    ["/try", {mode: "no-cors", method: "POST", body: new FormData()}],
  ];
  return Promise.all(ways.map(([path, options]) => fetch(target + path, options).then(
    (reply) => `${reply.type} ${reply.status}`, () => "refused by the browser")));
}"""
_LARGE: FilePayload = {"name": "large.png", "mimeType": "image/png", "buffer": bytes(2**11)}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One for all of these."""
    async with browsing() as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(browser: Browser) -> AsyncIterator[App]:
    """A server with a stream of a hostile name, one of whose frames was answered."""
    async with running() as serving, connected(serving) as stub:
        call: Any = stub.StreamFeatures()
        for request in (opening(stream_id=_HOSTILE), frame(1)):
            await call.write(request)
        await next_result(call)
        yield serving
        await call.done_writing()


async def _try_all(page: Page) -> None:
    # The panel is there once the server has said that it may be.
    await expect(page.locator("#try")).to_be_visible()
    await page.set_input_files("#files", _FILES)
    await expect(page.locator("#pictures .done")).to_have_count(3)
    await expect(page.locator("#pictures .failed")).to_have_count(1)


async def test_the_page_opens_quietly(browser: Browser, app: App) -> None:
    """It shows what the server does, complains of nothing, and asks nobody else for anything."""
    async with visiting(browser, app.metrics) as visit:
        await expect(visit.page.locator("#state")).to_have_text("ready")
        await expect(visit.page.locator("#devices h3")).to_have_text("cpu:0 up")
        await expect(visit.page.locator("#models")).to_contain_text("fake_nasnet_cifar")
        await expect(visit.page.get_by_role("cell", name="1 ok")).to_be_visible()
        await expect(visit.page.locator("#untrained")).to_contain_text("Untrained weights")
        assert visit.complaints == []
        assert [url for url in visit.requests if not url.startswith(f"http://{app.metrics}/")] == []


async def test_a_hostile_name_is_text(browser: Browser, app: App) -> None:
    """A stream may be called anything: it is shown as it is, and makes no element and no script."""
    async with visiting(browser, app.metrics) as visit:
        cell = visit.page.locator("#streams-table td").first
        await expect(cell).to_have_text(_HOSTILE)
        assert await cell.locator("*").count() == 0
        assert await visit.page.title() == "nasfeat"


async def test_other_sites_reach_nothing(browser: Browser, app: App) -> None:
    """A page of another port may ask as it likes: it reads nothing, and no picture of its gets in."""
    before = sum(app._metrics.frames().outcomes.values())
    with webserver.serving({"/": b"<!doctype html><title>evil</title>"}) as site:
        page = await browser.new_page()
        await page.goto(site.url)
        got = await page.evaluate(_ATTACK, f"http://{app.metrics}")
        await page.close()
    # An opaque reply is one that the page may not look into, and has the status 0.
    assert got == ["refused by the browser"] * 3 + ["opaque 0"] * 3
    assert sum(app._metrics.frames().outcomes.values()) == before


async def test_pictures_are_tried(browser: Browser, app: App, tmp_path: Path) -> None:
    """Two that are alike are, a third is not, and a file that is no picture says why beside itself."""
    async with visiting(browser, app.metrics) as visit:
        page = visit.page
        await _try_all(page)
        await expect(page.locator("#pictures .failed")).to_contain_text("not an image")
        await expect(page.locator("#pictures .done").first).to_contain_text("768 values")
        rows = [await row.locator("td").all_inner_texts() for row in (await page.locator(".matrix tr").all())[1:]]
        cosines = [[float(text) for text in row] for row in rows]
        assert [cosines[place][place] for place in range(3)] == [1, 1, 1]
        assert cosines[0][1] > 0.95 > cosines[0][2]
        async with page.expect_download() as downloading:
            await page.get_by_role("button", name="Download vectors").click()
        saved = tmp_path / "features.json"
        await (await downloading.value).save_as(saved)
        assert [(one["name"], len(one["features"])) for one in json.loads(saved.read_text())] == [
            (file["name"], 768) for file in _FILES[:3]
        ]
        await page.get_by_role("button", name="Remove dog.png").click()
        await expect(page.locator(".matrix tr")).to_have_count(3)
        await page.get_by_role("button", name="Remove all").click()
        await expect(page.locator("#likeness")).to_be_hidden()


async def test_a_file_that_is_too_large_is_not_sent(browser: Browser) -> None:
    """The page knows the server's limit."""
    with serving_page(limits=RequestLimits(max_image_bytes=2**10)) as small:
        async with visiting(browser, small) as visit:
            await expect(visit.page.locator("#state")).to_have_text("starting")
            await visit.page.set_input_files("#files", _LARGE)
            await expect(visit.page.locator("#pictures .failed")).to_contain_text("2.05 kB, the limit is 1.02 kB")
            assert not [url for url in visit.requests if url.endswith("/try")]


@pytest.mark.parametrize(("scheme", "size"), [("light", {"width": 1280}), ("dark", _PHONE)], ids=["desk", "phone"])
async def test_it_is_for_every_screen_and_for_everybody(
    browser: Browser, app: App, scheme: str, size: dict[str, Any]
) -> None:
    """Nothing is wider than the screen, and axe finds nothing that keeps anybody out."""
    async with visiting(browser, app.metrics, **size, color_scheme=scheme) as visit:
        page = visit.page
        await _try_all(page)
        assert await page.evaluate("document.documentElement.scrollWidth") == size["width"]
        color = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert color == {"light": "rgb(243, 245, 246)", "dark": "rgb(14, 20, 20)"}[scheme]
        found = await Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


async def test_a_lost_server_is_told_and_found_again(browser: Browser) -> None:
    """The page says for how long it has had no news, and goes on by itself when there are some."""
    async with contextlib.AsyncExitStack() as stack:
        with serving_page() as endpoint:
            visit = await stack.enter_async_context(visiting(browser, endpoint))
            await expect(visit.page.locator("#state")).to_have_text("starting")
        await expect(visit.page.locator("#connection")).to_contain_text("Connection lost, last data")
        await expect(visit.page.locator("#state")).to_have_text("no connection")
        with serving_page(endpoint=endpoint):
            await expect(visit.page.locator("#state")).to_have_text("starting")
            await expect(visit.page.locator("#connection")).to_be_hidden()


async def test_a_token_is_asked_for(browser: Browser, tmp_path: Path) -> None:
    """A wrong one is told; with a right one the tenant is named, and pictures are tried in its name."""
    tokens = write_tokens(tmp_path / "tokens.toml", {"cameras": (("nasfeat_right",), {})})
    security = SecurityConfig(tokens=tokens)
    async with running(security=security) as app, visiting(browser, app.metrics) as visit:
        page = visit.page
        await page.get_by_role("textbox", name="Token").fill("nasfeat_wrong")
        await page.keyboard.press("Enter")
        await expect(page.locator("#ask-why")).to_contain_text("not known here")
        await page.keyboard.press("Escape")
        await expect(page.locator("#ask")).to_be_visible()
        await page.get_by_role("textbox", name="Token").fill("nasfeat_right")
        await page.keyboard.press("Enter")
        await expect(page.locator("#about")).to_contain_text("tenant cameras")
        await expect(page.locator("#ask")).to_be_hidden()
        await _try_all(page)
        assert await page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0


async def test_a_view_has_no_panel(browser: Browser) -> None:
    """Nor a link to where it would be."""
    with serving_page(StatusPage.VIEW) as endpoint:
        async with visiting(browser, endpoint) as visit:
            await expect(visit.page.locator("#state")).to_have_text("starting")
            await expect(visit.page.locator("#try")).to_be_hidden()
            await expect(visit.page.locator("#try-link")).to_be_hidden()
