"""What the port of the metrics answers: these, and the status page as far as it is on."""

import logging
from collections.abc import Callable, Sequence
from importlib.metadata import version

from nasfeat_server.app.edge import Edge
from nasfeat_server.app.guard import Guard
from nasfeat_server.config import ServerConfig, StatusPage
from nasfeat_server.rpc.catalog import Catalog
from nasfeat_server.rpc.control import ModelState
from nasfeat_server.status.access import Access
from nasfeat_server.status.desk import Desk
from nasfeat_server.status.page import Page
from nasfeat_server.status.report import Reports, Sources
from nasfeat_server.telemetry.metrics_server import metrics_alone
from nasfeat_server.telemetry.prometheus import PrometheusObserver
from nasfeat_server.telemetry.recent import RecentRefusals
from nasfeat_server.telemetry.web import Handler

_log = logging.getLogger(__name__)


class Web:
    """The parts behind that port.

    Args:
        config: says how much of the page there is.
        catalog: the versions of the model that new pictures may get.
        metrics: what has been counted.

    Attributes:
        refusals: an observer, for the page.
        desk: where pictures are tried.
    """

    def __init__(self, config: ServerConfig, catalog: Catalog, metrics: PrometheusObserver) -> None:
        self.refusals = RecentRefusals()
        self.desk = Desk(catalog, config.limits)
        self._config = config
        self._page = config.status_page.at(config.metrics)
        self._metrics = metrics

    @property
    def has_page(self) -> bool:
        """Whether browsers are shown anything."""
        return self._page is not StatusPage.OFF

    def handler(self, guard: Guard, edge: Edge, models: Callable[[], Sequence[ModelState]]) -> Handler:
        """Give what answers requests.

        Args:
            guard: knows whose they are.
            edge: knows whether the server is ready.
            models: gives the versions of the model, those that retire too.
        """
        config, metrics = self._config, self._metrics
        if not self.has_page:
            return metrics_alone(metrics.exposition)
        if not (config.metrics.is_loopback or guard.authentication):
            _log.warning("the status page is there for everybody who reaches %s: there are no --tokens", config.metrics)
        sources = Sources(
            version=version("nasfeat"),
            page=self._page,
            models=models,
            limits=config.limits,
            frames=metrics.frames,
            devices=metrics.devices,
            refusals=self.refusals.newest_first,
            is_ready=lambda: edge.serving,
            is_stopping=lambda: self.desk.is_stopping,
        )
        page = Page(
            access=Access(config.metrics, guard.authentication),
            reports=Reports(sources),
            desk=self.desk,
            limits=config.limits,
        )
        return page.handler(self._page, metrics.exposition)
