"""Clients of TensorFlow Serving, with the stubs of tensorflow-serving-api, against a real server."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from serving import running

_PROGRAM = Path(__file__).with_name("tfserving_client.py")
_SHAPES = {"inputs": {"images": [1, -1, 32, 32, 3]}, "method": "tensorflow/serving/predict"}
_IMAGES = "input `images`"

REFUSED = {
    "double": ("INVALID_ARGUMENT", f"{_IMAGES} is DT_DOUBLE; it must be DT_FLOAT, DT_UINT8, or DT_STRING"),
    "bytes as floats": (
        "INVALID_ARGUMENT",
        "image 0 of 4: RGB_FLOAT32 values go from 0 to 255; they must be in [0, 1]",
    ),
    "below 0": ("INVALID_ARGUMENT", "image 0 of 1: RGB_FLOAT32 values go from -1 to"),
    "infinite": ("INVALID_ARGUMENT", "values are NaN or infinite"),
    "another size": ("INVALID_ARGUMENT", f"{_IMAGES} has shape [4, 31, 32, 3]; DT_UINT8 must be [N, 32, 32, 3]"),
    "without a batch": ("INVALID_ARGUMENT", f"{_IMAGES} has shape [32, 32, 3]"),
    "no picture": ("INVALID_ARGUMENT", "a call takes 1 to 32 images, not 0"),
    "too many": ("INVALID_ARGUMENT", "a call takes 1 to 32 images, not 33"),
    "too few values": (
        "INVALID_ARGUMENT",
        f"{_IMAGES} of shape [4, 32, 32, 3] takes 49152 bytes of values; there are 4",
    ),
    "too few numbers": ("INVALID_ARGUMENT", f"{_IMAGES} of shape [4, 32, 32, 3] takes 12288 values from 0 to 255"),
    "not numbers of bytes": ("INVALID_ARGUMENT", "int_val has a value that is not from 0 to 255"),
    "files of no shape": ("INVALID_ARGUMENT", f"{_IMAGES} has shape [] and 1 string_val; DT_STRING must be [N]"),
    "no file": ("INVALID_ARGUMENT", "image 0 of 1: "),
    "none at all": ("INVALID_ARGUMENT", f"{_IMAGES} is DT_INVALID"),
    "unknown signature": ("INVALID_ARGUMENT", "there is no signature 'classify'; these weights have serving_default,"),
    "unknown model": ("NOT_FOUND", "Servable not found for request: there is no model 'inception' here"),
    "unknown version": ("NOT_FOUND", "Servable not found for request: there is no version 7, only 1"),
    "unknown label": ("INVALID_ARGUMENT", "Unrecognized servable version label: 'canary' is none of stable"),
    "unknown output": ("INVALID_ARGUMENT", "there is no output 'logits': these weights give default, global_pool"),
    "metadata of another": ("NOT_FOUND", "Servable not found for request: there is no model 'inception' here"),
    "unknown metadata": ("INVALID_ARGUMENT", "there is no metadata 'graph', only 'signature_def'"),
    "no metadata": ("INVALID_ARGUMENT", "metadata_field is empty"),
    "status of no version": ("NOT_FOUND", "Servable not found for request: there is no version 2, only 1"),
    "classify": ("UNIMPLEMENTED", "Method not found"),
}


async def _run(*options: str) -> dict[str, Any]:
    async with running() as app:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(_PROGRAM), str(app.listening), *options, stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await process.communicate()
        assert process.returncode == 0
    found: dict[str, Any] = json.loads(printed)
    return found


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Any]:
    """Run the client once: of each case its status, the status' words and the answer."""
    return asyncio.run(_run())


def _check(outcomes: dict[str, Any]) -> None:
    """Compare every answer with what the SDK got, and every refusal with what is documented."""
    ours = outcomes["ours"]["answer"]
    assert len(ours) == 4
    for name, outcome in outcomes.items():
        if name in REFUSED:
            assert (name, outcome["code"]) == (name, REFUSED[name][0])
            assert REFUSED[name][1] in outcome["details"]
        else:
            assert (name, outcome["code"], outcome["details"]) == (name, "OK", "")
    vectors = {"ours", "metadata", "status", "status of a version", *REFUSED}
    for name in outcomes.keys() - vectors:
        assert (name, outcomes[name]["answer"][:4]) == (name, ours)
        assert len(outcomes[name]["answer"]) == (32 if "many" in name else 4)


def test_clients_get_what_the_sdk_gets_and_clear_refusals(outcomes: dict[str, Any]) -> None:
    """Floats, bytes, files, in every field that TensorFlow has for them: one vector; all else is refused in words."""
    _check(outcomes)


def test_the_metadata_describes_each_signature(outcomes: dict[str, Any]) -> None:
    """Unpacked by TensorFlow Serving's own type: floats in, a vector out; classes where there are any."""
    vector = _SHAPES | {"outputs": {"default": [1, -1, 768]}}
    logits = _SHAPES | {"outputs": {"default": [1, -1, 10]}}
    signatures = {"serving_default": vector, "image_feature_vector": vector, "image_classification": logits}
    assert outcomes["metadata"]["answer"] == signatures


def test_the_status_names_versions_and_states(outcomes: dict[str, Any]) -> None:
    """In TensorFlow Serving's words."""
    assert outcomes["status"]["answer"] == outcomes["status of a version"]["answer"] == {"1": "AVAILABLE"}


@pytest.mark.slow
async def test_the_same_holds_under_tensorflow_itself() -> None:
    """A client that has all of TensorFlow in its process makes its tensors with it, and has our SDK beside it."""
    _check(await _run("tensorflow"))
