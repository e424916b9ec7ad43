"""One picture outside of any call of the wire, on the way of those of ExtractFeatures."""

from collections.abc import Mapping
from dataclasses import dataclass

from nasfeat.v1 import feature_service_pb2, image_pb2
from nasfeat_server.config import RequestLimits
from nasfeat_server.rpc import convert, tenancy
from nasfeat_server.rpc.authentication import act_for
from nasfeat_server.rpc.catalog import Catalog
from nasfeat_server.rpc.outputs import select
from nasfeat_server.rpc.unary import answer
from nasfeat_server.security.tenants import Caller
from nasfeat_server.telemetry.events import Source, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came of a picture.

    Attributes:
        features: the feature vector, float32 little-endian.
        version: the operator's name for the weights that made it.
        source: where it comes from.
        stages_s: seconds in each stage.
    """

    features: bytes
    version: str
    source: Source
    stages_s: Mapping[Stage, float]


async def try_picture(
    picture: bytes, *, catalog: Catalog, limits: RequestLimits, caller: Caller | None, timeout_s: float
) -> Trial:
    """Compute the feature vector of an encoded picture by the stable version, after what everybody else wants.

    Args:
        picture: a file.
        catalog: has the version.
        limits: what a request may ask for.
        caller: whose quota it is charged to; None where nobody has to say.
        timeout_s: after which nobody waits for it any more.

    Raises:
        NasfeatError: nothing came of it.
    """
    act_for(caller)
    served = catalog.find("")
    served.path.dispatcher.check_up()
    with served.calls.under_way():
        [job] = await answer(
            [image_pb2.Image(encoded=picture)],
            select((), 0, served.description, limits),
            path=tenancy.path_of_caller(served.path),
            weight=convert.unary_weight(feature_service_pb2.PRIORITY_LOW),
            limits=limits,
            timeout_s=timeout_s,
        )
    if job.error:
        raise job.error
    if job.results is None or job.source is None:
        raise AssertionError("an image outside of streams fails or has features")
    return Trial(features=job.results, version=served.version, source=job.source, stages_s=job.stages_s)
