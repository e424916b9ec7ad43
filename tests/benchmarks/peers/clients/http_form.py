"""HTTP by aiohttp, a picture being a file of a form: how LitServe takes what is not JSON."""

from typing import Any

import aiohttp

from peers.clients.http import HttpClient


def _form(picture: bytes) -> Any:
    form = aiohttp.FormData()
    form.add_field("picture", picture, filename="picture", content_type="application/octet-stream")
    return form


def open_client(address: str, size: int) -> HttpClient:
    """Make a client of the server at host:port."""
    return HttpClient(address, _form)
