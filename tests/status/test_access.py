"""Who gets what from the port of the metrics, asked of a whole server."""

import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from credentials import write_tokens
from nasfeat_server.config import Endpoint, RequestLimits, SecurityConfig, StatusPage
from pages import serving_page
from photographs import picture
from serving import metric, running
from web import PICTURE_HEADERS, ask, report, try_picture

_PATHS = ("/", "/page/main.js", "/status.json")
_OURS = "nasfeat_ours"
_THEIRS = "nasfeat_theirs"


def _locked(folder: Path) -> SecurityConfig:
    tenants = {"ours": ((_OURS,), {"frames_per_second": 0.01, "burst": 1}), "theirs": ((_THEIRS,), {})}
    return SecurityConfig(tokens=write_tokens(folder / "tokens.toml", tenants))


@pytest.mark.parametrize(
    ("host", "comes_to"),
    [
        ("127.0.0.1", StatusPage.TRY),
        ("::1", StatusPage.TRY),
        ("localhost", StatusPage.TRY),
        ("0.0.0.0", StatusPage.OFF),  # noqa: S104 - nothing listens there
        ("10.0.0.1", StatusPage.OFF),
        ("monitor.example", StatusPage.OFF),
    ],
)
def test_by_itself_the_page_is_for_this_machine(host: str, comes_to: StatusPage) -> None:
    """All of it on a loopback address, nothing elsewhere; what an operator says is done."""
    endpoint = Endpoint(host=host, port=9464)
    assert StatusPage.AUTO.at(endpoint) is comes_to
    assert [page.at(endpoint) for page in (StatusPage.OFF, StatusPage.VIEW, StatusPage.TRY)] == ["off", "view", "try"]


@pytest.fixture(scope="module")
def served() -> Iterator[Endpoint]:
    """The whole page, of a server that has no model yet."""
    with serving_page(limits=RequestLimits(max_image_bytes=2**20)) as endpoint:
        yield endpoint


async def test_switched_off_there_are_metrics_and_nothing_else() -> None:
    """Under every path, as ever."""
    async with running(status_page=StatusPage.OFF) as app:
        for path in ("/", "/metrics", "/status.json", "/try"):
            answer = await ask(app.metrics, path)
            assert (answer.status, b"nasfeat_frames_total" in answer.body) == (200, True)
        assert (await try_picture(app.metrics, b"")).status == 405


async def test_a_view_takes_no_pictures() -> None:
    """Everything else is there, and the page is told so."""
    with serving_page(StatusPage.VIEW) as endpoint:
        assert [(await ask(endpoint, path)).status for path in (*_PATHS, "/metrics")] == [200] * 4
        assert (await try_picture(endpoint, picture(1))).status == 404
        assert (await report(endpoint))["server"]["can_try"] is False


async def test_methods_and_paths_that_there_are_not(served: Endpoint) -> None:
    """404 and 405 with a sentence, and HEAD as GET without what follows."""
    for path in ("/favicon.ico", "/page/", "/page/../main.js", "/status.json/"):
        assert (await ask(served, path)).status == 404
    refused = await ask(served, "/status.json", method="DELETE")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")
    assert (await ask(served, "/try")).headers["allow"] == "POST"
    for path in (*_PATHS, "/metrics"):
        head, whole = await ask(served, path, method="HEAD"), await ask(served, path)
        assert (head.status, head.body, head.headers["content-type"]) == (200, b"", whole.headers["content-type"])
        assert int(head.headers["content-length"]) > 0


async def test_every_file_of_the_page_is_served(served: Endpoint) -> None:
    """Under the name by which the others ask for it, and as what it is: browsers do not guess."""
    folder = Path(str(resources.files("nasfeat_server.status"))) / "assets"
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert (await ask(served, "/")).body == files.pop("index.html")
    types = {".css": "text/css", ".svg": "image/svg+xml", ".js": "text/javascript"}
    for name, content in files.items():
        answer = await ask(served, f"/page/{name}")
        assert answer.body == content
        assert answer.headers["content-type"].startswith(types[Path(name).suffix])


async def test_every_reply_says_what_a_browser_may_do_with_it(served: Endpoint) -> None:
    """No script but its own, no guessing of types, no frame around it, nothing kept."""
    for path in _PATHS:
        headers = (await ask(served, path)).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
    page = (await ask(served, "/")).body.decode()
    assert not re.search(r"\son\w+=|<style|<script>|https?://", page), "nothing inline, nothing from elsewhere"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9464", "localhost.evil.example", "10.0.0.1", "[", ""])
async def test_names_that_others_point_here_are_refused(served: Endpoint, host: str) -> None:
    """A site whose name leads to this machine (DNS rebinding) sees neither the page nor what is in it."""
    for path in _PATHS:
        assert (await ask(served, path, headers={"Host": host})).status == 421
    assert (await try_picture(served, picture(1), Host=host)).status == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:1234", "127.0.0.1:80", "127.3.2.1", "[::1]:9464"])
async def test_names_of_this_machine_are_not(served: Endpoint, host: str) -> None:
    """Whatever the port: it may be forwarded."""
    assert (await ask(served, "/status.json", headers={"Host": host})).status == 200


async def test_other_sites_get_nothing(served: Endpoint) -> None:
    """Neither by a request of their own nor by asking first; a link to the page is fine."""
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert (await ask(served, "/status.json", headers=headers)).status == 403
        assert (await try_picture(served, picture(1), **headers)).status == 403
    preflight = await ask(served, "/try", method="OPTIONS", headers={"Origin": "http://evil.example"})
    assert preflight.status == 405
    assert not [name for name in preflight.headers if name.startswith("access-control")]
    assert (await ask(served, "/", headers={"Sec-Fetch-Site": "cross-site"})).status == 200
    same = {"Origin": f"http://{served}", "Sec-Fetch-Site": "same-origin"}
    assert (await ask(served, "/status.json", headers=same)).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/octet-stream"}, 403),
        (PICTURE_HEADERS | {"Content-Type": "multipart/form-data"}, 415),
        (PICTURE_HEADERS | {"Content-Type": "text/plain"}, 415),
        (PICTURE_HEADERS | {"Content-Length": "many"}, 411),
        (PICTURE_HEADERS | {"Content-Length": str(2**20 + 1)}, 413),
        (PICTURE_HEADERS | {"Content-Length": "9" * 5000}, 413),
        (PICTURE_HEADERS | {"Content-Length": "0"}, 503),
    ],
)
async def test_pictures_come_as_only_the_page_sends_them(
    served: Endpoint, headers: dict[str, str], status: int
) -> None:
    """What a form of another site could send, and what is too large, is refused before it is read.

    The last one has all that it takes, but there is no model yet.
    """
    assert (await ask(served, "/try", method="POST", headers=headers)).status == status


async def test_with_tokens_nobody_sees_anything_without_one(tmp_path: Path) -> None:
    """The page itself has no secrets; what it shows, and the panel, are for tenants. Failures are counted."""
    async with running(security=_locked(tmp_path)) as app:
        assert (await ask(app.metrics, "/")).status == 200
        refused = await ask(app.metrics, "/status.json")
        assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert (await ask(app.metrics, "/status.json", headers={"Authorization": "Bearer nobody"})).status == 401
        assert (await try_picture(app.metrics, picture(1))).status == 401
        assert (await report(app.metrics, _OURS))["server"]["tenant"] == "ours"
        # A proxy has a name of its own, which is no use to anybody without a token.
        for headers, status in (({}, 401), ({"Authorization": f"Bearer {_OURS}"}, 200)):
            named = {"Host": "nasfeat.example", "Origin": "https://nasfeat.example", **headers}
            assert (await ask(app.metrics, "/status.json", headers=named)).status == status
        counted = [metric(app, "nasfeat_auth_failures_total", reason=reason) for reason in ("missing", "unknown")]
        assert counted == [3, 1]


async def test_tries_are_charged_to_the_tenant(tmp_path: Path) -> None:
    """One is what its quota allows: the second is told when to come again, and others are not affected."""
    async with running(security=_locked(tmp_path)) as app:
        ours, theirs = ({"Authorization": f"Bearer {token}"} for token in (_OURS, _THEIRS))
        assert (await try_picture(app.metrics, picture(1), **ours)).status == 200
        refused = await try_picture(app.metrics, picture(2), **ours)
        assert (refused.status, refused.content["reason"]) == (429, "Overloaded")
        assert int(refused.headers["retry-after"]) > 1
        assert (await try_picture(app.metrics, picture(2), **theirs)).status == 200
        assert metric(app, "nasfeat_tenant_frames_total", tenant="ours") == 1
