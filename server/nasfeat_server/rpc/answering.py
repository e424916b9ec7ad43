"""How a call ends: its errors become its status, and it is counted."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """Ends the calls of a service.

    Attributes:
        observer: told of every call.
        load: told to the client at the end of each; None tells nothing.
    """

    observer: Observer
    load: LoadReports | None = None

    @contextlib.asynccontextmanager
    async def __call__(self, method: str, context: "grpc.aio.ServicerContext[Any, Any]") -> AsyncIterator[None]:
        """Turn the errors of a call of `method` into its status, and tell whoever is to be told."""
        code = grpc.StatusCode.OK
        try:
            yield
            context.set_trailing_metadata(self._report())
        except NasfeatError as error:
            code = status_of(error).code
            self.refused(method, error)
            await context.abort(code, str(error), (*trailing_metadata(error), *self._report()))
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            raise
        except Exception:  # noqa: BLE001 - whatever it is, the client is answered and the log has the trace
            code = grpc.StatusCode.INTERNAL
            _log.exception("%s failed", method)
            await context.abort(code, "the server failed on this call; its log says why")
        finally:
            self.observer.observe(RequestFinished(method=method, code=code.name))

    def refused(self, method: str, error: NasfeatError) -> None:
        """Tell of what a call of `method` has asked for and does not get."""
        event = Refused(method=method, reason=error_name(error), message=str(error), traced=tracing.traced())
        self.observer.observe(event)

    def _report(self) -> tuple[tuple[str, bytes], ...]:
        return self.load.trailing_metadata() if self.load else ()
