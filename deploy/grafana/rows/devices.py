"""Devices: how busy they are, how well batches fill them, and whether their replicas live."""

from deploy.grafana.panels import BYTES, NUMBER, PER_S, SECONDS, SHARE, Look, Panel, Query, cloud, curves, states
from deploy.grafana.promql import device_mean, of_device, rate, total

_EACH = ("instance", "device")
_LEGEND = "{{instance}} {{device}}"


def panels() -> list[Panel]:
    """Give the row's panels."""
    return [*_work(), *_batches(), *_replicas(), *_memory(), *_gpus()]


def _work() -> list[Panel]:
    return [
        curves(
            "Busy, part of the time",
            "Time in which the device computed a batch. Near 1 with a queue: add devices. Low with a queue: "
            "something else holds the server up.",
            Look(unit=SHARE, most=1, runbooks=("QueueSaturated", "HighLatency")),
            Query(expr=total(rate(of_device("nasfeat_device_busy_seconds_total")), *_EACH), legend=_LEGEND),
        ),
        curves(
            "Images computed",
            "Images that devices computed, those answered from a cache or shared left out.",
            Look(unit=PER_S),
            Query(expr=total(rate(of_device("nasfeat_batch_size_sum")), *_EACH), legend=_LEGEND),
        ),
        curves(
            "Time of an image on the device",
            "Busy seconds for each image computed; what one costs. It falls with larger batches.",
            Look(unit=SECONDS, runbooks=("HighLatency",)),
            Query(
                expr=f"{total(rate(of_device('nasfeat_device_busy_seconds_total')), *_EACH)}"
                f" / {total(rate(of_device('nasfeat_batch_size_sum')), *_EACH)}",
                legend=_LEGEND,
            ),
        ),
    ]


def _batches() -> list[Panel]:
    return [
        curves(
            "Batch size, mean",
            "Images in a batch, beside the largest that the device takes now; that shrinks when memory runs out.",
            Look(unit=NUMBER),
            Query(expr=device_mean("nasfeat_batch_size"), legend=_LEGEND),
            Query(expr=of_device("nasfeat_batch_limit"), legend=f"{_LEGEND} limit"),
        ),
        curves(
            "Batch fill, mean",
            "Size of a batch as part of the device's limit. Half-full batches on an idle device are right: no "
            "image waits for others there.",
            Look(unit=SHARE, most=1),
            Query(expr=device_mean("nasfeat_batch_fill_ratio"), legend=_LEGEND),
        ),
        curves(
            "Batches by why they were closed",
            "full: no more would fit. idle: the device was free and took what there was. deadline: more would "
            "have been too late. retry: a replica had given the batch back before.",
            Look(unit=PER_S, stacked=True),
            Query(expr=total(rate(of_device("nasfeat_batches_total")), "close_reason"), legend="{{close_reason}}"),
        ),
        cloud(
            "Batch size, spread",
            "How many batches were of which size; sizes are powers of two.",
            Look(unit=NUMBER),
            Query(expr=total(rate(of_device("nasfeat_batch_size_bucket")), "le"), legend="{{le}}"),
        ),
        curves(
            "Since the last batch",
            "Time since the device finished a batch. Long with an empty queue is rest; with a full one it is stalled.",
            Look(unit=SECONDS, runbooks=("Stalled",)),
            Query(expr=f"time() - {of_device('nasfeat_last_batch_timestamp_seconds')} > 0", legend=_LEGEND),
        ),
    ]


def _replicas() -> list[Panel]:
    look = Look(inverted=True, limits=((1, "green"),), runbooks=("ReplicaRestarting", "NotReady"))
    return [
        states(
            "Replicas up",
            "1 while the device's replica takes work. A gap: the load needs none there.",
            look,
            Query(
                expr=f"{of_device('nasfeat_replica_up')} and {of_device('nasfeat_replica_wanted')} == 1", legend=_LEGEND
            ),
        ),
        curves(
            "Replicas lost by cause",
            "In the last five minutes. killed: by a signal, as when memory runs out. exited: by itself. hung: "
            "no answer, so it was killed. failed_start: it did not come to work.",
            Look(limits=((3, "red"),), runbooks=("ReplicaRestarting",)),
            Query(
                expr=f"sum by (device, cause) (increase({of_device('nasfeat_replica_restarts_total')}[5m]))",
                legend="{{device}} {{cause}}",
            ),
        ),
        states(
            "Devices left alone",
            "1 while a device whose replicas only died gets none: its quarantine.",
            Look(limits=((1, "red"),), runbooks=("ReplicaRestarting",)),
            Query(expr=of_device("nasfeat_replica_quarantined"), legend=_LEGEND),
        ),
        curves(
            "Start of a replica",
            "Time that the last start took until every batch size was warm; how long a lost replica is missed.",
            Look(unit=SECONDS, runbooks=("ReplicaRestarting",)),
            Query(expr=of_device("nasfeat_replica_start_seconds"), legend=_LEGEND),
        ),
    ]


def _memory() -> list[Panel]:
    return [
        curves(
            "Memory of replicas",
            "Resident memory of the replica's process, on the host; a GPU's own is below.",
            Look(unit=BYTES),
            Query(expr=of_device("nasfeat_replica_memory_bytes"), legend=_LEGEND),
        ),
    ]


def _gpus() -> list[Panel]:
    used, most = of_device("nasfeat_gpu_memory_used_bytes"), of_device("nasfeat_gpu_memory_total_bytes")
    return [
        curves(
            "GPU utilisation",
            "Part of the time in which a kernel ran, as NVML tells it. Empty without an NVIDIA GPU.",
            Look(unit=SHARE, most=1),
            Query(expr=of_device("nasfeat_gpu_utilization_ratio"), legend=_LEGEND),
        ),
        curves(
            "GPU memory, part in use",
            "Of all processes on the GPU. Empty without an NVIDIA GPU.",
            Look(unit=SHARE, most=1, limits=((0.95, "orange"),)),
            Query(expr=f"{used} / {most}", legend=_LEGEND),
        ),
        curves(
            "GPU power",
            "What the GPU draws; far below its limit under load means that it waits for images. Empty without "
            "an NVIDIA GPU.",
            Look(unit="watt"),
            Query(expr=of_device("nasfeat_gpu_power_watts"), legend=_LEGEND),
        ),
    ]
