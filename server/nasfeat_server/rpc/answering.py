"""How a call ends: its errors become its status, and it is counted."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from nasfeat_server.errors import NasfeatError
from nasfeat_server.rpc import tracing
from nasfeat_server.rpc.job import error_name
from nasfeat_server.rpc.load import LoadReports
from nasfeat_server.rpc.status import status_of, trailing_metadata
from nasfeat_server.telemetry.events import Observer, Refused, RequestFinished

_log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def answering(
    method: str, context: "grpc.aio.ServicerContext[Any, Any]", observer: Observer, load: LoadReports | None = None
) -> AsyncIterator[None]:
    """Turn the errors of a call of `method` into its status, tell the client the `load` and `observer` of the call."""
    code = grpc.StatusCode.OK
    try:
        yield
        context.set_trailing_metadata(_report(load))
    except NasfeatError as error:
        code = status_of(error).code
        observer.observe(Refused(method=method, reason=error_name(error), message=str(error), traced=tracing.traced()))
        await context.abort(code, str(error), (*trailing_metadata(error), *_report(load)))
    except asyncio.CancelledError:
        code = grpc.StatusCode.CANCELLED
        raise
    except Exception:  # noqa: BLE001 - whatever it is, the client is answered and the log has the trace
        code = grpc.StatusCode.INTERNAL
        _log.exception("%s failed", method)
        await context.abort(code, "the server failed on this call; its log says why")
    finally:
        observer.observe(RequestFinished(method=method, code=code.name))


def _report(load: LoadReports | None) -> tuple[tuple[str, bytes], ...]:
    return load.trailing_metadata() if load else ()
