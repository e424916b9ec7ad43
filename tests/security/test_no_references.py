"""Clients send pixels and names; the server opens nothing that a client could name."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from nasfeat.v1 import feature_pb2, feature_service_pb2, image_pb2
from serving import connected, next_result, opening, running
from webserver import serving

_SERVICE = feature_service_pb2.DESCRIPTOR.services_by_name["FeatureService"]
_CANARY = "canary-of-the-reference-test"


class _Ear:
    """Hears of every file, address and program that Python opens in this process while it listens."""

    def __init__(self) -> None:
        self.listening = False
        self.heard: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.listening and event.startswith(
            ("open", "os.", "socket.", "subprocess.", "urllib.", "glob.", "shutil.")
        ):
            self.heard.append(f"{event} {arguments!r}")


@pytest.fixture(scope="module")
def ear() -> _Ear:
    """One for all tests here: a hook is for the life of the process."""
    ear = _Ear()
    sys.addaudithook(ear)
    return ear


def _texts(message: Descriptor, seen: set[str]) -> Iterator[str]:
    if message.full_name in seen:
        return
    seen.add(message.full_name)
    for field in message.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            yield f"{message.name}.{field.name}"
        elif field.message_type:
            yield from _texts(field.message_type, seen)


def test_no_request_has_a_field_for_a_reference() -> None:
    """Every text that a client can send is a name to be looked up among those that there are, or names its own things.

    Whoever adds a text to a request adds it here, after making sure that it is neither path nor address.
    """
    seen: set[str] = set()
    found = {text for method in _SERVICE.methods for text in _texts(method.input_type, seen)}
    assert found == {
        "ExtractFeaturesRequest.model",
        "ExtractFeaturesRequest.outputs",
        "Frame.traceparent",
        "GetModelRequest.name",
        "StreamOptions.model",
        "StreamOptions.outputs",
        "StreamOptions.stream_id",
    }


def _hostile(path: str, url: str) -> list[bytes]:
    svg = f'<svg xmlns:xlink="http://www.w3.org/1999/xlink"><image xlink:href="{url}"/></svg>'
    entity = f'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file://{path}">]><svg>&x;</svg>'
    postscript = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({path}) run\n"
    playlist = f"#EXTM3U\n{url}\n"
    concatenation = f"ffconcat version 1.0\nfile '{path}'\n"
    graphics = f"push graphic-context\nimage over 0,0 0,0 '{url}'\npop graphic-context\n"
    texts = (path, f"file://{path}", url, svg, entity, postscript, playlist, concatenation, graphics, f"@{path}")
    return [text.encode() for text in texts]


async def test_no_image_makes_the_server_open_anything(ear: _Ear, tmp_path: Path) -> None:
    """Paths, addresses, and the formats that refer to others: each is refused as no image, and nothing was opened."""
    secret = tmp_path / f"{_CANARY}.png"
    secret.write_bytes(b"secret")
    with serving({f"/{_CANARY}.png": b"secret"}) as site:
        images = [image_pb2.Image(encoded=data) for data in _hostile(str(secret), f"{site.url}/{_CANARY}.png")]
        async with running() as app, connected(app) as stub:
            ear.heard, ear.listening = [], True
            response = await stub.ExtractFeatures(feature_service_pb2.ExtractFeaturesRequest(images=images))
            ear.listening = False
    reasons = {result.error.reason for result in response.results}
    assert reasons == {feature_pb2.ERROR_REASON_INVALID_IMAGE}
    assert [event for event in ear.heard if _CANARY in event] == []
    assert site.requests == []


@pytest.mark.parametrize("field", ["model", "outputs", "stream_id"])
async def test_no_name_makes_the_server_open_anything(ear: _Ear, tmp_path: Path, field: str) -> None:
    """A name that is a path finds no model and no output; as a stream's own it is given back, and no more."""
    (tmp_path / _CANARY).write_bytes(b"secret")
    name = f"../../{tmp_path / _CANARY}"
    async with running() as app, connected(app) as stub:
        ear.heard, ear.listening = [], True
        call: Any = stub.StreamFeatures()
        await call.write(opening(**{field: [name] if field == "outputs" else name}))
        if field == "stream_id":
            assert (await call.read()).granted.options.stream_id == name
            await call.done_writing()
            assert await next_result(call) is None
        else:
            with pytest.raises(grpc.aio.AioRpcError, match=r"there is no model|output"):
                await call.read()
        ear.listening = False
    assert [event for event in ear.heard if _CANARY in event] == []


def test_the_ear_hears(ear: _Ear, tmp_path: Path) -> None:
    """The tests above would else pass whatever the server did."""
    ear.heard, ear.listening = [], True
    (tmp_path / _CANARY).write_bytes(b"")
    ear.listening = False
    assert any(_CANARY in event for event in ear.heard)
