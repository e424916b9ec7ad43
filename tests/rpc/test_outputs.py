"""Outputs beside the feature vector: several at once, classes, and the limits on both."""

import dataclasses
import math
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest

from nasfeat.v1 import feature_pb2, feature_service_pb2
from nasfeat_server.app import App
from nasfeat_server.config import RequestLimits
from nasfeat_server.engine.fake import describe, fingerprint
from nasfeat_server.errors import InvalidRequestError
from nasfeat_server.network.spec import VARIANTS
from nasfeat_server.rpc.outputs import pack_features, select
from serving import connected, frame, next_result, opening, pixels, running

MODEL = describe(VARIANTS["cifar"], "random:0")
NARROW = RequestLimits(max_result_bytes=2**20)


@pytest.fixture
async def app() -> AsyncIterator[App]:
    """Give a server with one free replica."""
    async with running() as app:
        yield app


def expected(number: int, shape: tuple[int, ...]) -> bytes:
    """What the fake engine makes of the image `pixels(number)` for an output of `shape`."""
    image = np.frombuffer(pixels(number).raw.data, np.uint8).reshape(1, 32, 32, 3)
    return fingerprint(image, math.prod(shape)).tobytes()


async def granted(call: Any) -> feature_service_pb2.StreamGranted:
    """Read the first message of a stream."""
    grant: feature_service_pb2.StreamGranted = (await call.read()).granted
    return grant


async def test_several_outputs_come_in_one_pass_in_the_order_asked(app: App) -> None:
    """A map, an average and, by its signature's name, the feature vector: each with its name, shape and values."""
    async with connected(app) as stub:
        call = stub.StreamFeatures()
        await call.write(opening(outputs=["Cell_17", "Reduction_Cell_0/mean", "image_feature_vector"]))
        grant = await granted(call)
        await call.write(frame(7))
        result = await next_result(call)
        await call.done_writing()
    names = {"Cell_17": (8, 8, 768), "Reduction_Cell_0/mean": (256,), "global_pool": (768,)}
    assert list(grant.options.outputs) == list(names)
    assert result
    assert [(feature.output, tuple(feature.shape)) for feature in result.features.features] == list(names.items())
    for feature, shape in zip(result.features.features, names.values(), strict=True):
        assert feature.values == expected(7, shape)


async def test_streams_that_want_different_outputs_share_batches(app: App) -> None:
    """Whatever goes into one batch, each image has what its own call asked for."""
    async with connected(app) as stub:
        requests = [
            feature_service_pb2.ExtractFeaturesRequest(images=[pixels(number)] * 4, outputs=[name])
            for number, name in enumerate(("Logits", "global_pool", "Cell_3/mean", "Stem"))
        ]
        calls = [stub.ExtractFeatures(request) for request in requests]
        for number, call in enumerate(calls):
            for result in (await call).results:
                (feature,) = result.features.features
                assert feature.output == requests[number].outputs[0]
                assert feature.values == expected(number, tuple(feature.shape))


async def test_classes_alone(app: App) -> None:
    """`top_k` without outputs gives the most probable classes and no vector."""
    request = feature_service_pb2.ExtractFeaturesRequest(images=[pixels(65535)], top_k=2)
    async with connected(app) as stub:
        features = (await stub.ExtractFeatures(request)).results[0].features
    assert not features.features
    assert [(found.class_index, found.label, found.probability) for found in features.classes] == [
        (0, "class 0", 1.0),
        (1, "class 1", 0.0),
    ]


async def test_the_model_tells_its_outputs_and_labels(app: App) -> None:
    """GetModel lists every output with its shape, the classes in order, and the channels of the input."""
    async with connected(app) as stub:
        model = (await stub.GetModel(feature_service_pb2.GetModelRequest())).model
    assert list(model.outputs[:5]) == ["global_pool", "Logits", "Predictions", "Stem", "Stem/mean"]
    assert {shape.output: tuple(shape.shape) for shape in model.output_shapes} == MODEL.output_shapes
    assert list(model.labels) == [f"class {index}" for index in range(10)]
    assert (model.image_channels, model.identity.wiring) == (3, "slim")


async def test_a_stream_of_large_results_gets_a_small_window() -> None:
    """What a client may leave unread is bounded in bytes, not only in frames."""
    async with running(limits=NARROW) as app, connected(app) as stub:
        for outputs, window in ((["global_pool"], 32), (["Cell_0"], 4 * 2**20 // (32 * 32 * 192 * 4))):
            call = stub.StreamFeatures()
            await call.write(opening(outputs=outputs))
            assert (await granted(call)).options.window == window
            await call.done_writing()


async def test_a_call_whose_answer_fits_no_message_is_refused() -> None:
    """The size is told, and that a stream can do it."""
    limits = dataclasses.replace(NARROW, max_image_bytes=2**20)
    request = feature_service_pb2.ExtractFeaturesRequest(images=[pixels(0)] * 3, outputs=["Cell_0"])
    async with running(limits=limits) as app, connected(app) as stub:
        with pytest.raises(grpc.aio.AioRpcError, match=r"3 images are 2\.2 MiB, a message holds 2 MiB; use a stream"):
            await stub.ExtractFeatures(request)


@pytest.mark.parametrize(
    ("outputs", "top_k", "message"),
    [
        (
            ["Cell_99", "x"],
            0,
            "there is no output 'Cell_99': these weights give global_pool, Logits, Predictions, Stem",
        ),
        ([""], 0, "there is no output '': these weights give"),
        (["y" * 10**6], 0, "there is no output 'y{40}': these weights"),
        (["global_pool", "image_feature_vector"], 0, "output global_pool is asked for twice"),
        (["Cell_0", "Cell_1"], 0, r"the outputs of one image are 1\.5 MiB, the limit is 1 MiB; ask for fewer"),
    ],
)
def test_what_cannot_be_given_is_refused(outputs: list[str], top_k: int, message: str) -> None:
    """Every refusal holds what was asked and what is allowed."""
    with pytest.raises(InvalidRequestError, match=message):
        select(outputs, top_k, MODEL, NARROW)


def test_weights_without_a_classifier_name_no_classes() -> None:
    """A feature-vector module has neither logits nor classes."""
    shapes = {name: shape for name, shape in MODEL.output_shapes.items() if name not in ("Logits", "Predictions")}
    model = dataclasses.replace(MODEL, output_shapes=shapes, labels=())
    with pytest.raises(InvalidRequestError, match="no classifier"):
        select([], 1, model, NARROW)
    with pytest.raises(InvalidRequestError, match="no output 'Logits': these weights give global_pool, Stem"):
        select(["image_classification"], 0, model, NARROW)


def test_equal_probabilities_are_named_in_the_order_of_the_classes() -> None:
    """The classes are the most probable ones, in falling order, nameless where the weights have no names."""
    selection = select(["Predictions"], 3, dataclasses.replace(MODEL, labels=()), NARROW)
    probabilities = np.array([0.1, 0.2, 0, 0.2, 0.4, 0.1, 0, 0, 0, 0], np.float32)
    message = feature_pb2.Features()
    pack_features(message, selection, probabilities.tobytes())
    assert [found.class_index for found in message.classes] == [4, 1, 3]
    assert message.classes[0] == feature_pb2.Classification(class_index=4, probability=float(np.float32(0.4)))
    assert [feature.output for feature in message.features] == ["Predictions"]


def test_of_few_classes_all_are_named() -> None:
    """A fine-tuned network of three classes has no five most probable ones: asking for five is no mistake."""
    message = feature_pb2.Features()
    pack_features(message, select([], 50, MODEL, NARROW), bytes(40))
    assert [found.label for found in message.classes] == list(MODEL.labels)
