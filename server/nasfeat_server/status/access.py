"""Which requests are answered: those of the page itself, in the browser of somebody who may see it."""

from http import HTTPStatus
from urllib.parse import urlsplit

from nasfeat_server.config import Endpoint
from nasfeat_server.errors import UnauthenticatedError
from nasfeat_server.rpc.authentication import AuthenticationInterceptor
from nasfeat_server.security.tenants import Caller
from nasfeat_server.telemetry.web import Request, WebError

MARK = "x-nasfeat-page"
"""A header that only the page sends: other sites' scripts would have to ask first, and are not answered."""

PICTURE_TYPE = "application/octet-stream"
"""What pictures are sent as: no form can."""

SAFE_HEADERS = {
    # Nothing but what comes from here; pictures are shown from memory.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Access:
    """Looks at requests before anything is done for them.

    Args:
        metrics: where they come in.
        authentication: knows who may; None lets everybody.
    """

    def __init__(self, metrics: Endpoint, authentication: AuthenticationInterceptor | None) -> None:
        self._metrics = metrics
        self._authentication = authentication

    def check_host(self, request: Request) -> None:
        """Refuse what asks for another host than this one, as if somebody's name had been pointed to this machine.

        Where a token is asked for, which no other site has, any name will do: there may be a proxy.

        Raises:
            WebError: it does.
        """
        is_local = self._metrics.is_loopback and not self._authentication
        if is_local and not _is_loopback(request.headers.get("host", "")):
            raise WebError(HTTPStatus.MISDIRECTED_REQUEST, "this page is on localhost or 127.0.0.1 alone")

    def check_site(self, request: Request) -> None:
        """Refuse what a browser sends on behalf of another site than this page.

        Raises:
            WebError: it does.
        """
        self.check_host(request)
        origin = request.headers.get("origin")
        ours = origin is None or _netloc(origin) == request.headers.get("host")
        if not ours or request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            raise WebError(HTTPStatus.FORBIDDEN, "other sites get nothing from this page")

    def check_picture(self, request: Request) -> None:
        """Refuse a picture that another site may have sent.

        Raises:
            WebError: it may.
        """
        self.check_site(request)
        if not request.headers.get(MARK):
            raise WebError(HTTPStatus.FORBIDDEN, f"a picture comes with the header {MARK}")
        if request.headers["content-type"] != PICTURE_TYPE:
            raise WebError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"a picture is sent as {PICTURE_TYPE}")

    def caller(self, request: Request) -> Caller | None:
        """Find out who asks; None where nobody has to say.

        Raises:
            WebError: nobody who is known.
        """
        if not self._authentication:
            return None
        given = request.headers.get("authorization")
        try:
            return self._authentication.identify([given] if given else [], method=request.path, peer=request.peer)
        except UnauthenticatedError as error:
            raise WebError(HTTPStatus.UNAUTHORIZED, str(error), {"WWW-Authenticate": "Bearer"}) from error


def _is_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return Endpoint(host=name, port=0).is_loopback


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
