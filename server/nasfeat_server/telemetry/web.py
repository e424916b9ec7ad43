"""HTTP as far as the port of the metrics speaks it: requests and replies as plain values, and who answers which."""

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from io import BufferedReader

_PIECE = 2**16
# Digits: longer ones are more than any limit.
_LONGEST_LENGTH = 15


class WebError(Exception):
    """A request is answered with an error.

    Attributes:
        status: which.
        headers: of the reply.
    """

    def __init__(self, status: HTTPStatus, message: str, headers: Mapping[str, str] | None = None) -> None:
        """Keep `message` for whoever asked, in a sentence."""
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request whose head has been read.

    Attributes:
        method: in capitals.
        path: without a query.
        headers: by their names in small letters.
        peer: the address that it comes from.
        body: what follows, not read yet.
        connection: where it comes from.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    peer: str
    body: BufferedReader
    connection: socket.socket

    def read_body(self, *, limit: int, within_s: float) -> bytes:
        """Read what follows the head.

        Args:
            limit: bytes.
            within_s: seconds that all of it may take.

        Raises:
            WebError: it is too large, too slow, not whole, or does not say how long it is.
        """
        size = self._body_size(limit)
        until = time.monotonic() + within_s
        body = bytearray()
        while len(body) < size:
            self.connection.settimeout(max(0.001, until - time.monotonic()))
            try:
                piece = self.body.read1(min(_PIECE, size - len(body)))
            except TimeoutError:
                message = f"{len(body)} of {size} bytes came within {within_s:g} s"
                raise WebError(HTTPStatus.REQUEST_TIMEOUT, message) from None
            if not piece:
                raise WebError(HTTPStatus.BAD_REQUEST, f"the body ended after {len(body)} of {size} bytes")
            body += piece
        return bytes(body)

    def _body_size(self, limit: int) -> int:
        told = self.headers.get("content-length", "")
        if not told.isdecimal():
            raise WebError(HTTPStatus.LENGTH_REQUIRED, "say how long the body is, in Content-Length")
        if len(told) > _LONGEST_LENGTH or int(told) > limit:
            raise WebError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is {told[:_LONGEST_LENGTH]} bytes, the limit is {limit}"
            )
        return int(told)

    def is_given_up(self) -> bool:
        """Whether whoever asked has closed the connection and waits for no reply."""
        patience = self.connection.gettimeout()
        self.connection.settimeout(0)
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.connection.settimeout(patience)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a request is answered with."""

    body: bytes
    content_type: str
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Reply]


def error_reply(error: WebError) -> Reply:
    """Answer with a sentence."""
    return Reply(
        body=f"{error}\n".encode(),
        content_type="text/plain; charset=utf-8",
        status=error.status,
        headers=error.headers,
    )


class Routes:
    """Finds who answers a request.

    Args:
        handlers: by path, and by method; whoever answers GET answers HEAD.
        everywhere: the path of those that answer on all paths that are not there; None for nobody.
    """

    def __init__(self, handlers: Mapping[str, Mapping[str, Handler]], *, everywhere: str | None = None) -> None:
        self._handlers = handlers
        self._everywhere = everywhere

    def __call__(self, request: Request) -> Reply:
        """Answer `request`, whatever it is.

        Raises:
            WebError: nobody answers it.
        """
        found = self._handlers.get(request.path) or self._handlers.get(self._everywhere or "")
        if not found:
            there = ", ".join(self._handlers)
            raise WebError(HTTPStatus.NOT_FOUND, f"there is nothing under this path, only under {there}")
        handler = found.get("GET" if request.method == "HEAD" else request.method)
        if not handler:
            allowed = ", ".join([*found, *(["HEAD"] if "GET" in found else [])])
            message = f"this path answers {allowed} alone"
            raise WebError(HTTPStatus.METHOD_NOT_ALLOWED, message, {"Allow": allowed})
        return handler(request)
