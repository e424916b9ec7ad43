"""Serves the metrics over HTTP, from threads of its own."""

import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from nasfeat_server.config import Endpoint
from nasfeat_server.errors import ConfigurationError


class MetricsServer:
    """Answers every request with the metrics while its context is open.

    Args:
        endpoint: where to listen.
        exposition: gives the metrics for an Accept header, and their Content-Type.

    Attributes:
        endpoint: where it listens, the port filled in.
    """

    def __init__(self, endpoint: Endpoint, exposition: Callable[[str], tuple[bytes, str]]) -> None:
        self.endpoint = endpoint
        self._exposition = exposition

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
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
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
        body, content_type = self._exposition(environ.get("HTTP_ACCEPT", ""))
        start_response("200 OK", [("Content-Type", content_type), ("Content-Length", str(len(body)))])
        return [body]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _ServerV6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    # Who connects and says nothing is let go.
    timeout = 30.0

    def log_message(self, *_: Any) -> None:
        """Log nothing: scrapes are many."""
