"""When a device gets its next replica after one has died: decisions over plain data, the time passed in."""

from dataclasses import dataclass, replace

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
HEALTHY_AFTER_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """How often a device may fail.

    Attributes:
        quarantine_after: deaths in a row, without a healthy life between them, after which the device is left alone.
        quarantine_s: seconds for which it is, before one replica is tried again.
    """

    quarantine_after: int = 5
    quarantine_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of a device: how many of its replicas died in a row."""

    deaths: int = 0


def after_death(record: Record, warm_s: float) -> Record:
    """Count a death; a replica that was warm for `warm_s`, a minute or more, had a healthy life before it."""
    return Record(deaths=1) if warm_s >= HEALTHY_AFTER_S else replace(record, deaths=record.deaths + 1)


def is_quarantined(record: Record, policy: RestartPolicy) -> bool:
    """Tell whether the device has failed so often that it is left alone; each trial that fails prolongs that."""
    return record.deaths >= policy.quarantine_after


def pause_s(record: Record, policy: RestartPolicy, chance: float) -> float:
    """Decide how long to wait before the next start, after 1 death or more.

    Pauses double, and half of each is left to chance, so that replicas that died of one cause do not load their
    weights from one disk at the same moment again ("equal jitter", Brooker, AWS Architecture Blog, 2015).

    Args:
        record: the device's.
        policy: how often it may fail.
        chance: a random number in [0, 1).
    """
    if is_quarantined(record, policy):
        return policy.quarantine_s
    longest = min(FIRST_PAUSE_S * 2.0 ** min(record.deaths - 1, 32), LONGEST_PAUSE_S)
    return longest * (1 + chance) / 2
