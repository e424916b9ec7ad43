"""The metrics of several front ends, which a server with one does not have."""

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class FrontEndMetrics(Collector):
    """Tells of each front end whether it takes calls, how much it has to do and how often it died.

    Args:
        count: front ends.
        is_up: tells whether one takes calls; called by the thread of the scrape, as is the next.
        load: counts the streams of one, or its connections if those are more.
    """

    def __init__(self, count: int, *, is_up: Callable[[int], bool], load: Callable[[int], int]) -> None:
        self._count = count
        self._is_up = is_up
        self._load = load
        self._deaths: Counter[int] = Counter()

    def died(self, index: int) -> None:
        """Count a death."""
        self._deaths[index] += 1

    def collect(self) -> Iterator[Metric]:
        """Make the samples of a scrape."""
        by = ("front_end",)
        up = GaugeMetricFamily("nasfeat_front_end_up", "1 while the front end takes calls.", labels=by)
        load = GaugeMetricFamily(
            "nasfeat_front_end_load", "Streams of the front end, or connections if those are more.", labels=by
        )
        deaths = CounterMetricFamily(
            "nasfeat_front_end_restarts", "Deaths of the front end, after each of which it is started again.", labels=by
        )
        for index in range(self._count):
            up.add_metric((str(index),), self._is_up(index))
            load.add_metric((str(index),), self._load(index))
            deaths.add_metric((str(index),), self._deaths[index])
        yield from (up, load, deaths)
