"""Requests to the port of the metrics, as they are written and nothing added."""

import asyncio
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nasfeat_server.config import Endpoint

PICTURE_HEADERS = {"Content-Type": "application/octet-stream", "X-Nasfeat-Page": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back; the names of headers in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


async def ask(
    endpoint: Endpoint | None,
    path: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send a request, and read what comes back."""
    return await asyncio.to_thread(_ask, str(endpoint), path, method, body, headers or {})


async def report(endpoint: Endpoint | None, token: str = "") -> Any:
    """Ask for what the status page shows."""
    answer = await ask(endpoint, "/status.json", headers={"Authorization": f"Bearer {token}"} if token else {})
    assert answer.status == 200, answer
    return answer.content


async def try_picture(endpoint: Endpoint | None, picture: bytes, **headers: str) -> Answer:
    """Send a picture as the page does."""
    return await ask(endpoint, "/try", method="POST", body=picture, headers=PICTURE_HEADERS | headers)


def _ask(address: str, path: str, method: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request(method, path, body, dict(headers))
        reply = connection.getresponse()
        told = {name.lower(): value for name, value in reply.getheaders()}
        return Answer(status=reply.status, headers=told, body=reply.read())
    finally:
        connection.close()
