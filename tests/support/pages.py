"""The status page without a server behind it: nothing is loaded, and nothing happens."""

import contextlib
from collections.abc import Iterator

from nasfeat_server.config import Endpoint, RequestLimits, StatusPage
from nasfeat_server.rpc.catalog import Catalog
from nasfeat_server.status.access import Access
from nasfeat_server.status.desk import Desk
from nasfeat_server.status.page import Page
from nasfeat_server.status.report import Reports, Sources
from nasfeat_server.telemetry.metrics_server import MetricsServer
from nasfeat_server.telemetry.prometheus import PrometheusObserver
from nasfeat_server.telemetry.recent import RecentRefusals

_ANY_PORT = Endpoint(host="127.0.0.1", port=0)


@contextlib.contextmanager
def serving_page(
    page: StatusPage = StatusPage.TRY, limits: RequestLimits | None = None, endpoint: Endpoint = _ANY_PORT
) -> Iterator[Endpoint]:
    """Serve it at `endpoint` until the context ends; gives where that is."""
    limits = limits or RequestLimits()
    metrics, desk = PrometheusObserver(), Desk(Catalog(), limits)
    sources = Sources(
        version="1.2.3",
        page=page,
        models=tuple,
        limits=limits,
        frames=metrics.frames,
        devices=metrics.devices,
        refusals=RecentRefusals().newest_first,
        is_ready=lambda: True,
        is_stopping=lambda: desk.is_stopping,
    )
    answering = Page(access=Access(endpoint, None), reports=Reports(sources), desk=desk, limits=limits)
    with MetricsServer(endpoint, answering.handler(page, metrics.exposition)) as server:
        yield server.endpoint
