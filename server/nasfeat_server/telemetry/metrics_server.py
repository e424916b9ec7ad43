"""Serves the metrics over HTTP, and what else has that address, from threads of its own."""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from nasfeat_server.config import Endpoint
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.telemetry.web import Handler, Reply, Request, Routes, WebError, error_reply

_log = logging.getLogger(__name__)

PATH = "/metrics"
_CONNECTION = "nasfeat.connection"
# Seconds in which whoever still sends can see that it is of no use.
_LINGER_S = 3.0
# How often the thread looks whether it shall end, for which the event loop waits.
_POLL_S = 0.05


def metrics_handler(exposition: Callable[[str], tuple[bytes, str]]) -> Handler:
    """Answer with the metrics: `exposition` gives them for an Accept header, and their Content-Type."""

    def answer(request: Request) -> Reply:
        body, content_type = exposition(request.headers.get("accept", ""))
        return Reply(body=body, content_type=content_type)

    return answer


def metrics_alone(exposition: Callable[[str], tuple[bytes, str]]) -> Handler:
    """Answer with the metrics whatever the path."""
    return Routes({PATH: {"GET": metrics_handler(exposition)}}, everywhere=PATH)


class MetricsServer:
    """Answers requests while its context is open.

    Args:
        endpoint: where to listen.
        handler: answers them, on threads.

    Attributes:
        endpoint: where it listens, the port filled in.
    """

    def __init__(self, endpoint: Endpoint, handler: Handler) -> None:
        self.endpoint = endpoint
        self._handler = handler

    def __enter__(self) -> Self:
        """Listen.

        Raises:
            ConfigurationError: the address cannot be listened on.
        """
        server_class = _ServerV6 if ":" in self.endpoint.host else _Server
        try:
            self._server = server_class((self.endpoint.host, self.endpoint.port), _Handler)
        except OSError as error:
            raise ConfigurationError(f"cannot serve metrics on {self.endpoint}: {error}") from error
        self._server.set_app(self._answer)
        self.endpoint = Endpoint(host=self.endpoint.host, port=self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_S,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = _request(environ)
        reply = self._reply(request)
        # By itself WSGI would tell which Python this is.
        headers = {
            "Content-Type": reply.content_type,
            "Content-Length": str(len(reply.body)),
            "Server": "nasfeat",
            **reply.headers,
        }
        start_response(f"{reply.status.value} {reply.status.phrase}", list(headers.items()))
        return [] if request.method == "HEAD" else [reply.body]

    def _reply(self, request: Request) -> Reply:
        try:
            return self._handler(request)
        except WebError as error:
            return error_reply(error)
        except Exception:  # noqa: BLE001 - whatever it is, whoever asked is answered and the log has the trace
            _log.exception("%s %s failed", request.method, request.path)
            message = "the server failed on this request; its log says why"
            return error_reply(WebError(HTTPStatus.INTERNAL_SERVER_ERROR, message))


def _request(environ: dict[str, Any]) -> Request:
    # WSGI keeps these two apart from the others.
    headers = {name: environ.get(name.upper().replace("-", "_"), "") for name in ("content-type", "content-length")}
    for name, value in environ.items():
        if name.startswith("HTTP_"):
            headers[name.removeprefix("HTTP_").replace("_", "-").lower()] = value
    return Request(
        method=environ["REQUEST_METHOD"],
        path=environ["PATH_INFO"],
        headers=headers,
        peer=environ["REMOTE_ADDR"],
        body=environ["wsgi.input"],
        connection=environ[_CONNECTION],
    )


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def shutdown_request(self, request: Any) -> None:
        """End a connection once the other side has ended it, or has had time to.

        What is sent and not read, as a picture that is refused, would else take the reply along with it.
        """
        until = time.monotonic() + _LINGER_S
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_WR)
            while (left_s := until - time.monotonic()) > 0:
                request.settimeout(left_s)
                if not request.recv(2**16):
                    break
        self.close_request(request)

    def handle_error(self, *_: Any) -> None:
        """Say nothing of connections that break: what fails by our own fault has been logged."""


class _ServerV6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    # Who connects and says nothing is let go.
    timeout = 30.0

    def get_environ(self) -> dict[str, Any]:
        """Give what WSGI tells of a request, and its connection."""
        return super().get_environ() | {_CONNECTION: self.connection}

    def log_message(self, *_: Any) -> None:
        """Log nothing: scrapes are many."""
