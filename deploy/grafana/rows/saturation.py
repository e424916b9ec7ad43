"""Saturation: how full the server is, and of what."""

from deploy.grafana.panels import BYTES, NUMBER, SECONDS, SHARE, Look, Panel, Query, curves
from deploy.grafana.promql import of, quantile, rate, total


def panels() -> list[Panel]:
    """Give the row's panels."""
    return [*_queue(), *_waits(), *_process()]


def _queue() -> list[Panel]:
    depth, slots, capacity = of("nasfeat_queue_depth"), of("nasfeat_slots_in_use"), of("nasfeat_queue_capacity")
    return [
        curves(
            "Queue and slots",
            "Decoded images that wait for a replica; slots that hold an image anywhere between decoding and "
            "reply; and how many slots there are, which bound both.",
            Look(unit=NUMBER, runbooks=("QueueSaturated", "Stalled")),
            Query(expr=total(depth, "instance"), legend="{{instance}} waiting"),
            Query(expr=total(slots, "instance"), legend="{{instance}} slots in use"),
            Query(expr=total(capacity, "instance"), legend="{{instance}} slots"),
        ),
        curves(
            "Slots in use, part of all",
            "The server is full at 1: frames then wait to be received, and streams that will not wait lose some.",
            Look(unit=SHARE, limits=((0.7, "orange"), (0.9, "red")), most=1, runbooks=("QueueSaturated",)),
            Query(expr=f"{total(slots, 'instance')} / {total(capacity, 'instance')}", legend="{{instance}}"),
        ),
    ]


def _waits() -> list[Panel]:
    queued = of("nasfeat_stage_seconds_bucket", 'stage="queue"')
    received = of("nasfeat_stage_seconds_bucket", 'stage="receive"')
    flying = of("nasfeat_in_flight_frames")
    return [
        curves(
            "Wait for a device",
            "Time in the queue; the time that a full queue costs. An autoscaler may go by its p90.",
            Look(unit=SECONDS, runbooks=("HighLatency", "QueueSaturated")),
            *(
                Query(expr=quantile(share, queued, "instance"), legend=f"{{{{instance}}}} p{100 * share:.0f}")
                for share in (0.5, 0.9, 0.99)
            ),
        ),
        curves(
            "Wait for room",
            "Time from a frame's arrival to its slot. A stream that blocks waits here when the server is full.",
            Look(unit=SECONDS, runbooks=("QueueSaturated",)),
            *(
                Query(expr=quantile(share, received, "instance"), legend=f"{{{{instance}}}} p{100 * share:.0f}")
                for share in (0.5, 0.9, 0.99)
            ),
        ),
        curves(
            "Images in flight",
            "Images received and not yet answered, waiting readers included.",
            Look(unit=NUMBER),
            Query(expr=total(flying, "instance"), legend="{{instance}}"),
        ),
        curves(
            "Window in use, mean of the open streams",
            "Images in flight for each open stream: what streams use of their windows. Windows shrink as streams open.",
            Look(unit=NUMBER),
            Query(
                expr=f"{total(flying, 'instance')} / ({total(of('nasfeat_streams'), 'instance')} > 0)",
                legend="{{instance}}",
            ),
        ),
    ]


def _process() -> list[Panel]:
    return [
        curves(
            "Processor of the server's process",
            "Cores that the process takes which receives, decodes and replies; replicas have their own. Its "
            "event loop has one core at most, decoding threads have others.",
            Look(unit=NUMBER),
            Query(expr=rate(of("process_cpu_seconds_total")), legend="{{instance}}"),
        ),
        curves(
            "Memory of the server's process",
            "Resident memory, the arena of slots included; it does not grow with the number of streams or frames.",
            Look(unit=BYTES),
            Query(expr=of("process_resident_memory_bytes"), legend="{{instance}}"),
        ),
        curves(
            "Descriptors, part of the limit",
            "Open files and connections; at 1 no new connection is taken.",
            Look(unit=SHARE, limits=((0.7, "orange"), (0.9, "red"))),
            Query(expr=f"{of('process_open_fds')} / {of('process_max_fds')}", legend="{{instance}}"),
        ),
    ]
