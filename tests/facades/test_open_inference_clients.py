"""Triton's own client library, unmodified, against a real server."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from serving import running

_PROGRAM = Path(__file__).with_name("open_inference_client.py")
_NAME = "fake_nasnet_cifar"
_IMAGE = "input 'image'"
_UNKNOWN = f"is not found; there is '{_NAME}' in version '1' as stable"

REFUSED = {
    "unknown model": ("NOT_FOUND", f"request for unknown model: 'inception' {_UNKNOWN}"),
    "unknown version": ("NOT_FOUND", f"request for unknown model: '{_NAME}' version '7' {_UNKNOWN}"),
    "unknown output": ("INVALID_ARGUMENT", "there is no output 'fc': these weights give global_pool, Logits"),
    "output twice": ("INVALID_ARGUMENT", "output 'features' is asked for twice"),
    "classes of a map": ("INVALID_ARGUMENT", "output 'Cell_0' has shape [32, 32, 192]; classification is of vectors"),
    "another input": ("INVALID_ARGUMENT", "the inputs are 'images'; the model takes 'image' and nothing else"),
    "two inputs": ("INVALID_ARGUMENT", "the inputs are 'image', 'image'; the model takes"),
    "no input": ("INVALID_ARGUMENT", "the inputs are none; the model takes"),
    "another datatype": ("INVALID_ARGUMENT", f"{_IMAGE} is 'INT16'; it must be UINT8, FP32 of 0 to 1, or BYTES"),
    "another size": ("INVALID_ARGUMENT", f"{_IMAGE} has shape [1, 31, 32, 3]; UINT8 must be [N, 32, 32, 3]"),
    "without a batch": ("INVALID_ARGUMENT", f"{_IMAGE} has shape [32, 32, 3]; UINT8 must be"),
    "too many": ("INVALID_ARGUMENT", "a call takes 1 to 32 images, not 33"),
    "none at all": ("INVALID_ARGUMENT", "a call takes 1 to 32 images, not 0"),
    "too few numbers": (
        "INVALID_ARGUMENT",
        f"{_IMAGE} of shape [4, 32, 32, 3] takes 12288 uint_contents; there are 3",
    ),
    "large numbers": ("INVALID_ARGUMENT", f"{_IMAGE} has uint_contents that are over 255"),
    "too few files": ("INVALID_ARGUMENT", f"{_IMAGE} of shape [4] has 3 elements"),
    "no picture": ("INVALID_ARGUMENT", "image 0 of 2: not an image"),
    "shared memory": ("INVALID_ARGUMENT", f"{_IMAGE} is in shared memory, which this server does not read"),
    "a priority of words": ("INVALID_ARGUMENT", "parameter 'priority' is high; it must be a whole number"),
    "metadata of another": ("NOT_FOUND", _UNKNOWN),
    "statistics of another": ("NOT_FOUND", _UNKNOWN),
    "shared memory is not served": ("UNIMPLEMENTED", "Method not found"),
}


async def _run() -> dict[str, Any]:
    async with running() as app:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(_PROGRAM), str(app.listening), stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await process.communicate()
        assert process.returncode == 0
    found: dict[str, Any] = json.loads(printed)
    return found


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """Run the client once."""
    return asyncio.run(_run())


def test_unary_calls_give_what_the_sdk_gets(found: dict[str, Any]) -> None:
    """Numbers and files, raw and typed, compressed, urgent, of a sequence: the vectors are those of the SDK."""
    seen = 0
    for name, outcome in found.items():
        answer = outcome.get("answer") if isinstance(outcome, dict) else None
        if not answer or name in REFUSED or name in ("classes", "several outputs"):
            continue
        seen += 1
        assert (name, outcome["code"], answer[:4]) == (name, "OK", found["expected"])
        assert len(answer) == (32 if name == "many" else 4)
    assert seen == 14


def test_what_is_wrong_is_refused_in_words(found: dict[str, Any]) -> None:
    """With the status that Triton has for it, and what is allowed."""
    for name, (code, words) in REFUSED.items():
        assert (name, found[name]["code"]) == (name, code)
        assert words in found[name]["details"]


def test_other_outputs_come_by_their_names(found: dict[str, Any]) -> None:
    """Each of its own shape, in the order asked, with the request's id; of a classifier the best classes."""
    told, shapes = found["several outputs"]["answer"]
    assert told == ["mine", _NAME, "1"]
    assert list(shapes.items()) == [("Cell_0/mean", [4, 192]), ("Logits", [4, 10]), ("features", [4, 768])]
    for row in found["classes"]["answer"]:
        values = [float(text.split(":")[0]) for text in row]
        assert len(row) == 3
        assert values == sorted(values, reverse=True)
        assert all(text.split(":")[2] == f"class {text.split(':')[1]}" for text in row)


@pytest.mark.parametrize("library", ["sync", "aio"])
def test_a_stream_answers_in_order_and_outlives_bad_requests(found: dict[str, Any], library: str) -> None:
    """Each request has one answer, which says that it is the last; of those that are wrong it is the reason."""
    answers = found["streamed"] if library == "sync" else found["aio"][1]
    assert len(answers) == 40
    for number, answer in enumerate(answers):
        if number == 5:
            assert f"request for unknown model: 'inception' {_UNKNOWN}" in answer[1]
        elif number == 11:
            assert "not an image" in answer[1]
        else:
            assert answer == [str(number), found["expected"][number % 4], True]
    assert found["aio"][0] == found["expected"]


def test_the_model_is_described(found: dict[str, Any]) -> None:
    """Alive, ready, its tensors with and without the dimension of the batch, its one version."""
    described = found["described"]
    assert described["live"] == [True, True]
    assert described["ready"] == [True, True, False]
    assert described["server"]["name"] == "nasfeat"
    assert described["metadata"] == {
        "name": _NAME,
        "versions": ["1"],
        "platform": "nasfeat",
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": ["-1", "32", "32", "3"]}],
        "outputs": [{"name": "features", "datatype": "FP32", "shape": ["-1", "768"]}],
    }
    config = described["config"]
    assert (config["name"], config["backend"], config["max_batch_size"]) == (_NAME, "nasfeat", 32)
    image = {"name": "image", "data_type": "TYPE_UINT8", "format": "FORMAT_NHWC", "dims": ["32", "32", "3"]}
    assert config["input"] == [image]
    assert config["output"] == [{"name": "features", "data_type": "TYPE_FP32", "dims": ["768"]}]
    assert described["index"] == {"models": [{"name": _NAME, "version": "1", "state": "READY"}]}


def test_statistics_count_what_was_computed(found: dict[str, Any]) -> None:
    """A call of four images is four inferences more, each of which has waited and been computed."""
    before, after = found["statistics"]
    assert int(after["inference_count"]) == int(before["inference_count"]) + 4
    assert int(after["execution_count"]) > int(before["execution_count"])
    assert int(after["last_inference"]) > 0
    counts = {name: int(entry.get("count", 0)) for name, entry in after["inference_stats"].items()}
    same = int(after["inference_count"])
    stages = dict.fromkeys(("success", "queue", "compute_input", "compute_infer", "compute_output"), same)
    assert counts.items() >= stages.items()
    assert counts["fail"] > 0
    assert int(after["inference_stats"]["compute_infer"]["ns"]) > 0
    batches = {int(entry["batch_size"]): int(entry["compute_infer"]["count"]) for entry in after["batch_stats"]}
    assert sum(batches.values()) == int(after["execution_count"])
    assert sum(size * count for size, count in batches.items()) >= same
