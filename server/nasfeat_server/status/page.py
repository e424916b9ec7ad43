"""What the port of the metrics answers when the status page is on."""

import base64
import json
import math
from collections.abc import Callable, Mapping
from http import HTTPStatus
from importlib import resources
from typing import Any

from nasfeat_server.config import RequestLimits, StatusPage
from nasfeat_server.errors import NasfeatError
from nasfeat_server.rpc.job import error_name
from nasfeat_server.rpc.status import retry_after_s, status_of
from nasfeat_server.rpc.trial import Trial
from nasfeat_server.status.access import SAFE_HEADERS, Access
from nasfeat_server.status.desk import Desk
from nasfeat_server.status.report import Reports
from nasfeat_server.telemetry.metrics_server import PATH as METRICS_PATH
from nasfeat_server.telemetry.metrics_server import metrics_handler
from nasfeat_server.telemetry.web import Handler, Reply, Request, Routes

# Seconds in which a picture must have come.
_UPLOAD_S = 30.0
_JSON = "application/json"
_ASSETS: Mapping[str, str] = {
    "page.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    **dict.fromkeys(
        ("main.js", "dom.js", "charts.js", "overview.js", "tables.js", "trial.js", "vectors.js"),
        "text/javascript; charset=utf-8",
    ),
}
STATUSES: Mapping[str, HTTPStatus] = {
    "INVALID_ARGUMENT": HTTPStatus.UNPROCESSABLE_ENTITY,
    "NOT_FOUND": HTTPStatus.NOT_FOUND,
    "UNAUTHENTICATED": HTTPStatus.UNAUTHORIZED,
    "RESOURCE_EXHAUSTED": HTTPStatus.TOO_MANY_REQUESTS,
    "DEADLINE_EXCEEDED": HTTPStatus.GATEWAY_TIMEOUT,
    "UNAVAILABLE": HTTPStatus.SERVICE_UNAVAILABLE,
    "INTERNAL": HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""What gRPC's statuses are over HTTP."""


class Page:
    """Answers browsers.

    Args:
        access: says who may ask for what.
        reports: what is shown.
        desk: where pictures are handed in.
        limits: of which the largest picture is one.
    """

    def __init__(self, *, access: Access, reports: Reports, desk: Desk, limits: RequestLimits) -> None:
        self._access = access
        self._reports = reports
        self._desk = desk
        self._limits = limits

    def handler(self, page: StatusPage, exposition: Callable[[str], tuple[bytes, str]]) -> Handler:
        """Give what answers all requests: as much of the `page` as is wanted, and the metrics."""
        trying = {"/try": {"POST": self._try}} if page is StatusPage.TRY else {}
        assets = {f"/page/{name}": {"GET": self._asset} for name in _ASSETS}
        return Routes(
            {
                METRICS_PATH: {"GET": metrics_handler(exposition)},
                "/": {"GET": self._index},
                "/status.json": {"GET": self._status},
                **trying,
                **assets,
            }
        )

    def _index(self, request: Request) -> Reply:
        # Other sites may have links to it.
        self._access.check_host(request)
        return _reply(_read("index.html"), "text/html; charset=utf-8")

    def _asset(self, request: Request) -> Reply:
        self._access.check_host(request)
        name = request.path.removeprefix("/page/")
        return _reply(_read(name), _ASSETS[name])

    def _status(self, request: Request) -> Reply:
        self._access.check_site(request)
        caller = self._access.caller(request)
        return _json_reply(self._reports.make(caller.tenant.name if caller else None))

    def _try(self, request: Request) -> Reply:
        self._access.check_picture(request)
        caller = self._access.caller(request)
        try:
            with self._desk.seat():
                picture = request.read_body(limit=self._limits.max_image_bytes, within_s=_UPLOAD_S)
                trial = self._desk.compute(picture, caller, request.is_given_up)
        except NasfeatError as error:
            return _refusal(error)
        return _json_reply(_tried(trial) if trial else None)


def _read(name: str) -> bytes:
    return resources.files(__package__).joinpath("assets", name).read_bytes()


def _tried(trial: Trial) -> Mapping[str, Any]:
    return {
        "features": base64.b64encode(trial.features).decode(),
        "version": trial.version,
        "source": trial.source,
        "stages_s": trial.stages_s,
    }


def _refusal(error: NasfeatError) -> Reply:
    after_s = retry_after_s(error)
    headers = {} if after_s is None else {"Retry-After": str(max(1, math.ceil(after_s)))}
    return _json_reply(
        {"reason": error_name(error), "message": str(error)}, STATUSES[status_of(error).code.name], headers
    )


def _json_reply(content: Any, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Reply:
    return _reply(json.dumps(content, allow_nan=False).encode(), _JSON, status, headers)


def _reply(
    body: bytes, content_type: str, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Reply:
    return Reply(body=body, content_type=content_type, status=status, headers={**SAFE_HEADERS, **(headers or {})})
