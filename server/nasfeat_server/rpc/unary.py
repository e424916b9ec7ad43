"""ExtractFeatures: a handful of images in one call."""

import asyncio
import functools
import itertools
from collections.abc import Sequence

from nasfeat.v1 import feature_service_pb2, image_pb2
from nasfeat_server.config import RequestLimits
from nasfeat_server.engine.interface import ModelDescription
from nasfeat_server.errors import DeadlinePassedError, InvalidRequestError, OverloadedError
from nasfeat_server.imaging.types import RawPixels
from nasfeat_server.rpc import convert
from nasfeat_server.rpc.frames import FramePath
from nasfeat_server.rpc.job import FrameJob, write_result
from nasfeat_server.rpc.outputs import Selection, select
from nasfeat_server.rpc.payload import ReceivedCall


async def extract(
    received: ReceivedCall,
    *,
    path: FramePath,
    weight: float,
    description: ModelDescription,
    limits: RequestLimits,
    timeout_s: float | None,
) -> feature_service_pb2.ExtractFeaturesResponse:
    """Answer each image of a call, in its order; an image that fails has its error in its result.

    Raises:
        InvalidRequestError: the call itself cannot be answered.
        OverloadedError: none of the images found room.
        DeadlinePassedError: none of the images can be ready in time.
    """
    request = received.request
    selection = select(request.outputs, request.top_k, description, limits)
    check_count(len(request.images), selection, limits)
    jobs = await answer(
        request.images,
        selection,
        pixels=received.pixels,
        path=path,
        weight=weight,
        limits=limits,
        timeout_s=timeout_s,
    )
    response = feature_service_pb2.ExtractFeaturesResponse()
    for job in jobs:
        write_result(response.results.add(), job)
    return response


async def answer(
    images: Sequence[image_pb2.Image | bytes | RawPixels],
    selection: Selection,
    *,
    path: FramePath,
    weight: float,
    limits: RequestLimits,
    timeout_s: float | None,
    pixels: Sequence[memoryview | None] = (),
    method: str = "ExtractFeatures",
) -> Sequence[FrameJob]:
    """Send `images` through the server side by side; gives them answered, each with what it has or why it has nothing.

    Args:
        images: messages, files or pixels.
        selection: what is wanted of each.
        path: the way that they take.
        weight: their share of the devices.
        limits: what a request may ask for.
        timeout_s: after which nobody waits for them; None for never.
        pixels: those of each image, None for one that has its own; empty if all have.
        method: the call that brought them.

    Raises:
        OverloadedError: none of them found room.
        DeadlinePassedError: none of them can be ready in time.
    """
    lane, deadline = path.dispatcher.open_lane(weight), convert.deadline_after(timeout_s)
    make = functools.partial(
        FrameJob, capture_time=None, lane=lane, weight=weight, selection=selection, deadline=deadline
    )
    cut = pixels or itertools.repeat(None)
    jobs = [
        make(frame_id=index, image=image, pixels=own)
        for index, (image, own) in enumerate(zip(images, cut, strict=False))
    ]
    for job in jobs:
        job.method = method
    try:
        await _answer_all(jobs, path, limits)
        for job in jobs:
            path.replied(job)
        _raise_if_refused(jobs)
    finally:
        path.abandon(jobs)
        path.dispatcher.close_lane(lane)
    return jobs


def check_count(count: int, selection: Selection, limits: RequestLimits) -> None:
    """Refuse a call that has no images, too many or too much to be answered in one message.

    Raises:
        InvalidRequestError: names the number and the limit.
    """
    if not 1 <= count <= limits.max_images_per_call:
        raise InvalidRequestError(
            f"a call takes 1 to {limits.max_images_per_call} images, not {count}; use a stream for more"
        )
    if count * selection.nbytes > limits.max_message_bytes:
        size, limit = (total / 2**20 for total in (count * selection.nbytes, limits.max_message_bytes))
        raise InvalidRequestError(
            f"the outputs of {count} images are {size:.1f} MiB, a message holds {limit:g} MiB; use a stream"
        )


async def _answer_all(jobs: Sequence[FrameJob], path: FramePath, limits: RequestLimits) -> None:
    if len(jobs) == 1:
        # The call's own task will do.
        await _answer(jobs[0], path, limits)
        return
    async with asyncio.TaskGroup() as tasks:
        for job in jobs:
            tasks.create_task(_answer(job, path, limits))


async def _answer(job: FrameJob, path: FramePath, limits: RequestLimits) -> None:
    if not path.receive(job):
        return
    if job.following:
        await path.answer_following(job)
        await job.answered
        return
    try:
        path.admit(job, await path.reserve(max_waiting=limits.max_waiting_images))
    except OverloadedError as error:
        job.error = error
        path.settle(job)
        return
    if work := path.answer(job):
        await work
    await job.answered


def _raise_if_refused(jobs: Sequence[FrameJob]) -> None:
    """Make it the call's own failure if no image was let in: only then can a client's retry policy act on it."""
    errors = [job.error for job in jobs if isinstance(job.error, OverloadedError | DeadlinePassedError)]
    if len(errors) == len(jobs):
        raise errors[0]
