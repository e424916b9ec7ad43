"""Outputs and classes: what is asked for comes, what cannot be given is refused, and older servers are understood."""

import dataclasses
import pickle
from typing import Any

import grpc.aio
import numpy as np
import pytest

from nasfeat.v1 import feature_pb2, feature_service_pb2, feature_service_pb2_grpc, image_pb2
from nasfeat_client import (
    AsyncFeatureClient,
    Classification,
    ErrorReason,
    FrameError,
    InvalidImageError,
    InvalidRequestError,
    ModelInfo,
    NotSupportedError,
    Result,
    StreamOptions,
)
from nasfeat_client._fake_outputs import write_features
from nasfeat_client._results import model_of
from nasfeat_client.testing import FAKE_MODEL, FakeFeatureServer, Script, fake_classes, fake_outputs, fake_vector

PICTURES = [b"one", b"two", b"three"]


def without(*names: str) -> ModelInfo:
    """Give the fake's model without some of its outputs."""
    left = {name: shape for name, shape in FAKE_MODEL.output_shapes.items() if name not in names}
    return dataclasses.replace(FAKE_MODEL, outputs=tuple(left), output_shapes=left)


def assert_has_outputs(result: Result, picture: bytes, names: list[str]) -> None:
    """The result has these outputs of the picture, in this order, and no others."""
    assert list(result.outputs) == names
    for name in names:
        array = result.outputs[name]
        assert array.shape == FAKE_MODEL.output_shapes[name]
        assert not array.flags.writeable
        np.testing.assert_array_equal(array, fake_outputs(picture)[name], strict=True)


async def test_several_outputs_in_one_call(client: AsyncFeatureClient) -> None:
    """Each comes in its own shape, in the order asked, by a call and by a stream; nobody asked for classes."""
    names = ["Cell_0", "global_pool", "Cell_0/mean", "Predictions", "Logits"]
    result = await client.extract(b"one", outputs=names)
    assert_has_outputs(result, b"one", names)
    np.testing.assert_array_equal(result.vector, fake_vector(b"one"))
    assert result.classes == ()
    streamed = [result async for result in client.extract_many(PICTURES, outputs=names)]
    for picture, result in zip(PICTURES, streamed, strict=True):
        assert_has_outputs(result, picture, names)


async def test_classes_alone(client: AsyncFeatureClient) -> None:
    """`top_k` without outputs gives so many classes and no vector, which is then a clear KeyError."""
    results = [await client.extract(b"one", top_k=3)]
    results += [result async for result in client.extract_many([b"one"], top_k=3)]
    results += [result async for result in client.stream([b"one"], StreamOptions(top_k=3))]
    for result in results:
        assert result.classes == fake_classes(b"one", 3)
        assert result.outputs == {}
        with pytest.raises(KeyError, match="not asked for: `outputs` has nothing; ask for 'global_pool' too"):
            _ = result.vector


async def test_classes_beside_outputs(client: AsyncFeatureClient) -> None:
    """Both come; a vector that is not among them is missed by name."""
    result = await client.extract(b"one", outputs=["Logits", "Cell_0"], top_k=2)
    assert_has_outputs(result, b"one", ["Logits", "Cell_0"])
    assert result.classes == fake_classes(b"one", 2)
    with pytest.raises(KeyError, match="`outputs` has Logits, Cell_0; ask"):
        _ = result.vector


async def test_classify_names_the_most_probable_classes(client: AsyncFeatureClient) -> None:
    """Five unless told otherwise, the most probable first, with index, label and probability."""
    classes = await client.classify(b"one")
    probabilities = fake_outputs(b"one")["Predictions"]
    assert [found.class_index for found in classes] == np.argsort(-probabilities)[:5].tolist()
    assert [found.probability for found in classes] == np.sort(probabilities)[:-6:-1].tolist()
    assert [found.label for found in classes] == [FAKE_MODEL.labels[found.class_index] for found in classes]
    assert len(await client.classify(b"one", top_k=10)) == 10


async def test_classify_raises_what_befell_its_image(server: FakeFeatureServer, client: AsyncFeatureClient) -> None:
    """As `extract` does."""
    server.script = Script(failures={0: FrameError(reason=ErrorReason.INVALID_IMAGE, message="no picture")})
    with pytest.raises(InvalidImageError, match="no picture"):
        await client.classify(b"text")


async def test_a_failed_image_has_no_classes(server: FakeFeatureServer, client: AsyncFeatureClient) -> None:
    """It fails alone, and asking for its vector raises its own error."""
    server.script = Script(failures={1: FrameError(reason=ErrorReason.INVALID_IMAGE, message="no picture")})
    results = [result async for result in client.extract_many(PICTURES, top_k=1)]
    assert [len(result.classes) for result in results] == [1, 0, 1]
    with pytest.raises(InvalidImageError, match="no picture"):
        _ = results[1].vector


async def test_weights_without_names_give_empty_labels(server: FakeFeatureServer, client: AsyncFeatureClient) -> None:
    """The index and the probability are there all the same."""
    server.model = dataclasses.replace(FAKE_MODEL, labels=())
    expected = [dataclasses.replace(found, label="") for found in fake_classes(b"one")]
    assert list(await client.classify(b"one")) == expected
    assert (await client.model()).labels == ()


@pytest.mark.parametrize(
    ("alias", "output"), [("image_feature_vector", "global_pool"), ("image_classification", "Logits")]
)
async def test_a_signatures_name_stands_for_its_output(
    server: FakeFeatureServer, client: AsyncFeatureClient, alias: str, output: str
) -> None:
    """The result, and what a stream is granted, have the output's own name."""
    assert_has_outputs(await client.extract(b"one", outputs=[alias]), b"one", [output])
    assert list((await granted(server, outputs=[alias])).outputs) == [output]


async def test_a_grant_fills_in_what_was_left_open(server: FakeFeatureServer) -> None:
    """The feature vector stands for nothing at all, not for classes alone."""
    assert list((await granted(server)).outputs) == ["global_pool"]
    alone = await granted(server, top_k=2)
    assert (list(alone.outputs), alone.top_k) == ([], 2)


async def granted(server: FakeFeatureServer, **options: Any) -> feature_service_pb2.StreamOptions:
    """Open a stream without the SDK, and give the options that the server says are in force."""
    async with grpc.aio.insecure_channel(server.target) as channel:
        call = feature_service_pb2_grpc.FeatureServiceStub(channel).StreamFeatures()
        asked = feature_service_pb2.StreamOptions(**options)
        await call.write(feature_service_pb2.StreamFeaturesRequest(options=asked))
        reply = await anext(aiter(call))
        call.cancel()
    return reply.granted.options


@pytest.mark.parametrize(
    ("model", "wanted", "problem"),
    [
        (
            FAKE_MODEL,
            {"outputs": ["Cell_9"]},
            "no output 'Cell_9': .* global_pool, Logits, Predictions, Cell_0, Cell_0/mean",
        ),
        (FAKE_MODEL, {"outputs": [""]}, "no output ''"),
        (FAKE_MODEL, {"outputs": ["Logits", "image_classification"]}, "output Logits is asked for twice"),
        (without("Predictions"), {"top_k": 1}, "no classifier"),
    ],
)
async def test_what_the_weights_cannot_give_is_refused(
    server: FakeFeatureServer, client: AsyncFeatureClient, model: ModelInfo, wanted: dict[str, Any], problem: str
) -> None:
    """A call and a stream raise InvalidRequestError, with what there is."""
    server.model = model
    with pytest.raises(InvalidRequestError, match=problem):
        await client.extract(b"one", **wanted)
    with pytest.raises(InvalidRequestError, match=problem):
        await anext(client.extract_many(PICTURES, **wanted))


async def test_wrong_arguments_are_the_callers_mistake(client: AsyncFeatureClient) -> None:
    """Too few classes raise ValueError, a string in the place of a list TypeError, before anything is sent."""
    with pytest.raises(ValueError, match="top_k is -1; it must be 0 or more"):
        await client.extract(b"one", top_k=-1)
    with pytest.raises(ValueError, match="top_k is -2"):
        client.extract_many(PICTURES, top_k=-2)
    with pytest.raises(ValueError, match="top_k is -3"):
        StreamOptions(top_k=-3)
    for count in (0, -1):
        with pytest.raises(ValueError, match=f"top_k is {count}; it must be 1 or more"):
            await client.classify(b"one", count)
    with pytest.raises(TypeError, match=r"the string 'Logits'.* like \['Logits'\]"):
        await client.extract(b"one", outputs="Logits")


async def test_a_server_that_knows_no_classes_is_told_apart(
    server: FakeFeatureServer, client: AsyncFeatureClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older one passes over `top_k` and answers with vectors: that is an error, and not an image without classes."""

    def write_vector(message: feature_pb2.Features, image: image_pb2.Image, *_: object) -> None:
        write_features(message, image, ["global_pool"], 0, FAKE_MODEL)

    monkeypatch.setattr("nasfeat_client._fake.write_features", write_vector)
    assert (await client.extract(b"one")).ok
    with pytest.raises(NotSupportedError, match="5 classes were asked for and none came"):
        await client.classify(b"one")
    with pytest.raises(NotSupportedError, match="too old"):
        await anext(client.extract_many(PICTURES, top_k=1))


def test_an_older_servers_model_can_be_read() -> None:
    """What it does not say is empty, and every server takes RGB."""
    message = feature_service_pb2.Model(image_height=331, image_width=331, feature_length=4032, outputs=["global_pool"])
    model = model_of(message)
    assert (model.outputs, model.output_shapes, model.labels) == (("global_pool",), {}, ())
    assert (model.identity.wiring, model.limits.max_result_bytes, model.image_channels) == ("", 0, 3)


def test_a_model_is_a_plain_value() -> None:
    """It can be copied into dictionaries, pickled, compared and hashed, in spite of its mapping."""
    assert dataclasses.asdict(FAKE_MODEL)["output_shapes"] == FAKE_MODEL.output_shapes
    assert pickle.loads(pickle.dumps(FAKE_MODEL)) == FAKE_MODEL  # noqa: S301 - our own
    assert hash(dataclasses.replace(FAKE_MODEL)) == hash(FAKE_MODEL)
    assert without("Cell_0") != FAKE_MODEL


def test_the_fakes_outputs_agree() -> None:
    """Probabilities add up to 1 in the order of the logits, `/mean` is the mean, and each picture has its own."""
    outputs = fake_outputs(b"one")
    assert {name: array.shape for name, array in outputs.items()} == FAKE_MODEL.output_shapes
    assert {array.dtype for array in outputs.values()} == {np.dtype(np.float32)}
    assert outputs["Predictions"].sum() == pytest.approx(1)
    assert outputs["Predictions"].argsort().tolist() == outputs["Logits"].argsort().tolist()
    np.testing.assert_array_equal(outputs["Cell_0/mean"], outputs["Cell_0"].mean((0, 1)))
    assert not any(np.array_equal(array, outputs[name]) for name, array in fake_outputs(b"two").items())
    assert fake_classes(b"one", 0) == ()
    assert isinstance(fake_classes(b"one")[0], Classification)
