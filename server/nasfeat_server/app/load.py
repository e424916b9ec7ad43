"""What is said of the server's load, put together from its running parts."""

from collections.abc import Callable

from nasfeat_server.config import ServerConfig
from nasfeat_server.engine.cores import usable_cores
from nasfeat_server.rpc.catalog import Catalog
from nasfeat_server.telemetry.load import LoadMeter, Room
from nasfeat_server.telemetry.prometheus import PrometheusObserver


def load_meter(
    config: ServerConfig,
    catalog: Catalog,
    metrics: PrometheusObserver,
    is_warm: Callable[[str], bool],
    *,
    cpu_clock: Callable[[], float],
) -> LoadMeter:
    """Make the meter of a server.

    Args:
        config: names its devices.
        catalog: the versions of the model.
        metrics: what has been counted.
        is_warm: whether the replica of a device takes work.
        cpu_clock: processor seconds of all processes that take calls.
    """

    def room() -> Room:
        paths = [served.path for served in catalog.served]
        return Room(
            slots=sum(path.slots.capacity for path in paths),
            slots_in_use=sum(path.slots.in_use for path in paths),
            queued=sum(path.dispatcher.depth for path in paths),
            waiting=sum(path.slots.waiting for path in paths),
            # Versions share the devices. Nothing waits, nothing is waited for: the estimate is for what does.
            queue_wait_s=sum(path.dispatcher.drain_s() for path in paths if path.dispatcher.depth),
            devices_up=sum(map(is_warm, config.devices)),
        )

    return LoadMeter(
        frames=metrics.frames, busy_s=metrics.busy_s, room=room, cores=usable_cores().seconds, cpu_clock=cpu_clock
    )
