"""How busy the server is, told to clients and balancers as ORCA has it (gRFC A51).

A report goes with the end of every call that asks something of the model, whichever protocol it is of, and to whoever
asks OpenRcaService for reports at intervals.
The messages are declared in protos/nasfeat/v1/load_report.proto: PyPI's xds-protos has them too, and with them
thousands of files, some of which belong to packages that are installed beside it.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio

from nasfeat.v1 import load_report_pb2
from nasfeat_server.rpc.service import Service
from nasfeat_server.telemetry.load import Load

SERVICE = "xds.service.orca.v3.OpenRcaService"
_METHOD = "StreamCoreMetrics"
_KEY = "endpoint-load-metrics-bin"
# Shorter intervals tell nothing new.
FLOOR_S = 0.5
_CEILING_S = 3600.0

_Context = grpc.aio.ServicerContext[Any, Any]


class LoadReports:
    """Makes reports, and sends them to those who ask.

    Args:
        load: how busy the server is.
        floor_s: the shortest interval that it reports at, whatever is asked for.
    """

    def __init__(self, load: Callable[[], Load], *, floor_s: float = FLOOR_S) -> None:
        self._load = load
        self._floor_s = floor_s
        self._stopping = asyncio.Event()
        self._made: tuple[Load, bytes] | None = None

    @property
    def service(self) -> Service:
        """OpenRcaService, under the name that balancers know."""
        request = load_report_pb2.LoadReportRequest
        handler: grpc.RpcMethodHandler[Any, Any] = grpc.unary_stream_rpc_method_handler(
            self._stream, request_deserializer=request.FromString
        )
        return Service(name=SERVICE, requests={_METHOD: request.DESCRIPTOR}, handlers={_METHOD: handler})

    def stop(self) -> None:
        """Send no more reports; those who wait for them are told that they end."""
        self._stopping.set()

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        """Give what goes with the end of a call."""
        return ((_KEY, self._report()),)

    def _report(self) -> bytes:
        load = self._load()
        if not self._made or self._made[0] is not load:
            self._made = load, _message(load).SerializeToString()
        return self._made[1]

    async def _stream(self, request: load_report_pb2.LoadReportRequest, context: _Context) -> None:
        pause_s = interval_s(request, floor_s=self._floor_s)
        while not self._stopping.is_set():
            await context.write(self._report())
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)


def interval_s(request: load_report_pb2.LoadReportRequest, *, floor_s: float) -> float:
    """Give the seconds between reports: those that are wanted, within bounds."""
    wanted = request.report_interval
    # Not by its own method, which fails on what is no duration.
    return min(_CEILING_S, max(floor_s, wanted.seconds + wanted.nanos / 1e9))


def _message(load: Load) -> load_report_pb2.LoadReport:
    room = load.room
    return load_report_pb2.LoadReport(
        application_utilization=load.utilization,
        cpu_utilization=load.cpu,
        rps_fractional=load.frames_per_s,
        eps=load.failures_per_s,
        utilization={"devices": load.devices, "slots": room.slots_in_use / max(1, room.slots)},
        named_metrics={
            "nasfeat.queue_depth": room.queued,
            "nasfeat.queue_wait_s": room.queue_wait_s,
            "nasfeat.slots_in_use": room.slots_in_use,
        },
    )
