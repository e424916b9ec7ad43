"""A server for tests: real gRPC on a free port, deterministic outputs and classes, and failures as scripted.

async with FakeFeatureServer() as server, AsyncFeatureClient(server.target) as client:
    result = await client.extract("photo.jpg")
    assert (result.vector == fake_vector("photo.jpg")).all()
    assert await client.classify("photo.jpg", 3) == fake_classes("photo.jpg", 3)
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import grpc.aio

from nasfeat.v1 import image_pb2
from nasfeat.v1.feature_service_pb2_grpc import add_FeatureServiceServicer_to_server
from nasfeat_client._fake import FakeServicer
from nasfeat_client._fake_outputs import LOGITS, PREDICTIONS, classes_of, output_of, shapes_of
from nasfeat_client._fake_script import Refusal, Script, Seen, Served
from nasfeat_client._images import write_image
from nasfeat_client.images import Image
from nasfeat_client.result import FEATURE_VECTOR, Array, Classification
from nasfeat_client.types import Limits, ModelIdentity, ModelInfo

__all__ = [
    "FAKE_MODEL",
    "FakeFeatureServer",
    "Refusal",
    "Script",
    "Seen",
    "fake_classes",
    "fake_outputs",
    "fake_vector",
]

_MAX_MESSAGE_BYTES = 65 * 2**20
_LABELS = ("background", "cat", "dog", "horse", "bird", "boat", "car", "chair", "cup", "tree")
_SHAPES = {
    FEATURE_VECTOR: (4032,),
    LOGITS: (len(_LABELS),),
    PREDICTIONS: (len(_LABELS),),
    # Three different numbers, so that mixed up axes are noticed.
    "Cell_0": (2, 3, 4),
    "Cell_0/mean": (4,),
}

FAKE_MODEL = ModelInfo(
    identity=ModelIdentity(
        name="fake",
        version="1",
        weights_digest="sha256:fake",
        precision="fp32",
        preprocessing_digest="sha256:fake",
        weights_source="fake",
        trained=True,
        wiring="slim",
    ),
    image_height=331,
    image_width=331,
    image_channels=3,
    feature_length=4032,
    outputs=tuple(_SHAPES),
    output_shapes=_SHAPES,
    labels=_LABELS,
    limits=Limits(
        max_image_bytes=64 * 2**20,
        max_image_pixels=50_000_000,
        max_images_per_call=32,
        max_window=8,
        max_message_bytes=_MAX_MESSAGE_BYTES,
        max_result_bytes=64 * 2**20,
    ),
)
"""What a fake server serves unless told otherwise."""


def fake_vector(image: Image, feature_length: int = FAKE_MODEL.feature_length) -> Array:
    """Give the vector with which a fake server answers an image: float32 [feature_length] in [0, 1)."""
    return output_of(_message(image), FEATURE_VECTOR, {FEATURE_VECTOR: (feature_length,)})


def fake_outputs(image: Image, model: ModelInfo = FAKE_MODEL) -> dict[str, Array]:
    """Give every output that a fake server has for an image: float32 of `model.output_shapes`, by name."""
    message, shapes = _message(image), shapes_of(model)
    return {name: output_of(message, name, shapes) for name in shapes}


def fake_classes(image: Image, top_k: int = 5, model: ModelInfo = FAKE_MODEL) -> tuple[Classification, ...]:
    """Give the classes that a fake server names for an image, the most probable first."""
    return classes_of(_message(image), top_k, model)


def _message(image: Image) -> image_pb2.Image:
    message = image_pb2.Image()
    write_image(message, image, _MAX_MESSAGE_BYTES)
    return message


class FakeFeatureServer:
    """A server that is up while its `async with` block runs.

    Args:
        model: what it serves; `limits.max_window` is the window that streams are granted at most.
        script: how it misbehaves.
        options: further options of its gRPC server, as in ("grpc.max_connection_age_ms", 1000).

    Attributes:
        target: "host:port", once it is up.
    """

    def __init__(
        self,
        *,
        model: ModelInfo = FAKE_MODEL,
        script: Script | None = None,
        options: Sequence[tuple[str, int | str]] = (),
    ) -> None:
        self.target = ""
        self._served = Served(model=model, script=script or Script(), seen=Seen())
        self._options = options
        self._server: grpc.aio.Server | None = None

    @property
    def seen(self) -> Seen:
        """What clients sent."""
        return self._served.seen

    @property
    def model(self) -> ModelInfo:
        """What it serves; may be replaced at any time."""
        return self._served.model

    @model.setter
    def model(self, model: ModelInfo) -> None:
        self._served.model = model

    @property
    def script(self) -> Script:
        """How it misbehaves; may be replaced at any time, for the calls that come then."""
        return self._served.script

    @script.setter
    def script(self, script: Script) -> None:
        self._served.script = script

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server(
            options=(
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
                # As the server does: a client that waits long on a quiet stream is not sent away for its pings.
                ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
                *self._options,
            )
        )
        add_FeatureServiceServicer_to_server(FakeServicer(self._served), self._server)
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Go away at once: calls under way fail as they do when a server dies."""
        if self._server:
            await self._server.stop(None)
