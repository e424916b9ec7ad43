"""The metrics of the versions of the model: which there are, and what becomes of operators' orders."""

from collections import Counter
from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from nasfeat_server.telemetry.events import ModelFacts, ModelLabel, ModelsChanged, ReloadFinished

_OUTCOMES = ("loaded", "shared", "promoted", "rolled_back", "failed")


class ModelMetrics(Collector):
    """Shows the versions that are served now: a version that is gone leaves no series behind."""

    def __init__(self) -> None:
        """Start without any version."""
        self._models: Mapping[ModelLabel, ModelFacts] = {}
        self._reloads = Counter(dict.fromkeys(_OUTCOMES, 0))

    def changed(self, event: ModelsChanged) -> None:
        """Show these versions from now on."""
        self._models = event.models

    def reloaded(self, event: ReloadFinished) -> None:
        """Count an order."""
        self._reloads[event.outcome] += 1

    def collect(self) -> Iterator[Metric]:
        """Make the samples of a scrape."""
        info = InfoMetricFamily("nasfeat_model", "The versions of the model that are served.", labels=("label",))
        share = GaugeMetricFamily(
            "nasfeat_model_share_ratio", "Part of the new calls that a version gets.", labels=("label",)
        )
        for label, facts in self._models.items():
            info.add_metric((label,), _described(facts))
            share.add_metric((label,), facts.share)
        reloads = CounterMetricFamily(
            "nasfeat_reloads", "Orders about the versions of the model, by what came of them.", labels=("outcome",)
        )
        for outcome, count in self._reloads.items():
            reloads.add_metric((outcome,), count)
        yield from (info, share, reloads)


def _described(facts: ModelFacts) -> dict[str, str]:
    return {
        "name": facts.name,
        "version": facts.version,
        "weights_digest": facts.weights_digest,
        "weights_source": facts.weights_source,
        "precision": facts.precision,
        "trained": str(facts.trained).lower(),
    }
