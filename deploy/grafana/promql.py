"""The forms of PromQL that the panels use. Each query keeps to the job and the instances chosen above the dashboard."""

CHOSEN_JOB = 'job=~"$job"'
"""The job that is chosen above the dashboard."""
CHOSEN = f'{CHOSEN_JOB}, instance=~"$instance"'
"""Its servers that are."""
CHOSEN_DEVICES = f'{CHOSEN}, device=~"$device"'
"""Their devices that are."""


def of(metric: str, *matchers: str) -> str:
    """Select `metric` of the chosen servers, narrowed by `matchers` such as `outcome="ok"`."""
    return f"{metric}{{{', '.join((CHOSEN, *matchers))}}}"


def of_device(metric: str, *matchers: str) -> str:
    """Select `metric` of the chosen devices."""
    return f"{metric}{{{', '.join((CHOSEN_DEVICES, *matchers))}}}"


def rate(selected: str) -> str:
    """Give what a counter grows by in a second."""
    return f"rate({selected}[$__rate_interval])"


def total(expression: str, *by: str) -> str:
    """Add up, one sum for each value of the labels `by`."""
    return f"sum by ({', '.join(by)}) ({expression})" if by else f"sum({expression})"


def quantile(share: float, buckets: str, *by: str) -> str:
    """Estimate a quantile from a histogram's `buckets`, one for each value of the labels `by`."""
    return f"histogram_quantile({share}, {total(rate(buckets), 'le', *by)})"


def native_quantile(share: float, histogram: str, *by: str) -> str:
    """Estimate a quantile from a native histogram, one for each value of the labels `by`."""
    return f"histogram_quantile({share}, {total(rate(histogram), *by)})"


def mean(histogram: str, *by: str) -> str:
    """Give the exact mean of a histogram of servers, one for each value of the labels `by`."""
    return f"{total(rate(of(f'{histogram}_sum')), *by)} / {total(rate(of(f'{histogram}_count')), *by)}"


def device_mean(histogram: str) -> str:
    """Give the exact mean of a histogram of devices, one for each device."""
    sums, counts = of_device(f"{histogram}_sum"), of_device(f"{histogram}_count")
    return f"{total(rate(sums), 'instance', 'device')} / {total(rate(counts), 'instance', 'device')}"
