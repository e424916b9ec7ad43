"""One unary call as it was planned."""

import asyncio
import random

import grpc.aio
from tests.soak.ledger import Account, Tally
from tests.soak.pictures import Pictures
from tests.soak.plan import CallPlan, starts_with_vector

from nasfeat.v1 import feature_service_pb2, feature_service_pb2_grpc

# Its own deadline, or more than there is room for.
_USUAL = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)


async def make_call(
    stub: "feature_service_pb2_grpc.FeatureServiceAsyncStub",
    *,
    name: str,
    plan: CallPlan,
    draw: random.Random,
    pictures: Pictures,
    tally: Tally,
) -> list[str]:
    """Make the call, count what came of its images; returns complaints."""
    account = Account(name=name, ordered=True)
    request = feature_service_pb2.ExtractFeaturesRequest(outputs=plan.outputs, top_k=plan.top_k)
    for number in range(plan.images):
        image, expected = pictures.draw(draw, marked=starts_with_vector(plan))
        request.images.append(image)
        account.send(number, expected)
    tally.add("calls")
    tally.add("sent", plan.images)
    call = stub.ExtractFeatures(request, timeout=plan.timeout_s)
    if plan.cancel_after_s is not None:
        asyncio.get_running_loop().call_later(plan.cancel_after_s, call.cancel)
    complaints = await _await(call, account, tally)
    tally.add("cancelled", account.in_flight)
    return [*complaints, *account.complaints]


async def _await(
    call: "grpc.aio.UnaryUnaryCall[feature_service_pb2.ExtractFeaturesRequest, "
    "feature_service_pb2.ExtractFeaturesResponse]",
    account: Account,
    tally: Tally,
) -> list[str]:
    try:
        response = await call
    except grpc.aio.AioRpcError as error:
        tally.add("calls_failed")
        return [] if error.code() in _USUAL else [f"{account.name}: {error.code().name}: {error.details()}"]
    except asyncio.CancelledError:
        if not call.cancelled():
            raise
        tally.add("calls_failed")
        return []
    for result in response.results:
        tally.add(account.answer(result))
    return [f"{account.name}: {account.in_flight} images have no result"] if account.in_flight else []
