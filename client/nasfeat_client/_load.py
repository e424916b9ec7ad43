"""What a server says of its load, for a client that has several: by the reports of ORCA (gRFC A51)."""

import asyncio
import random

import grpc
import grpc.aio

from nasfeat.v1 import load_report_pb2

_METHOD = "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics"
# Of many clients a server hears as often, and a stream is long.
_INTERVAL_S = 2.0
# With half of its slots waiting for a device.
_OVERLOADED = 1.5
# A server without spare capacity still counts for something: all of them may have none.
_LEAST_SPARE = 0.1
# Below this, what it can do cannot be told from what it does.
_LEAST_USE = 0.05


class ServerLoad:
    """The last report of one server."""

    def __init__(self) -> None:
        self._report: load_report_pb2.LoadReport | None = None

    @property
    def is_overloaded(self) -> bool:
        """Whether it has so much to do that others should have what comes."""
        return self._report is not None and self._report.application_utilization >= _OVERLOADED

    @property
    def capacity(self) -> float | None:
        """Frames a second that it could answer, from those that it does (gRFC A58); None if that cannot be told."""
        report = self._report
        if not report or report.application_utilization < _LEAST_USE or not report.rps_fractional:
            return None
        return report.rps_fractional / report.application_utilization

    @property
    def spare(self) -> float:
        """The share of its capacity that is not in use."""
        return max(_LEAST_SPARE, 1.0 - self._report.application_utilization) if self._report else 1.0

    async def follow(self, channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...]) -> None:
        """Take reports until cancelled; ends if the server makes none."""
        ask = channel.unary_stream(
            _METHOD,
            request_serializer=load_report_pb2.LoadReportRequest.SerializeToString,
            response_deserializer=load_report_pb2.LoadReport.FromString,
        )
        request = load_report_pb2.LoadReportRequest()
        request.report_interval.FromMilliseconds(round(_INTERVAL_S * 1000))
        code: grpc.StatusCode | None = None
        while code is not grpc.StatusCode.UNIMPLEMENTED:
            try:
                async for report in ask(request, metadata=metadata):
                    self._report = report
            except grpc.aio.AioRpcError as error:
                code = error.code()
            # What was said by a server that is gone holds for none that comes.
            self._report = None
            await asyncio.sleep(_INTERVAL_S * (0.5 + 0.5 * random.random()))  # noqa: S311 - no secret
