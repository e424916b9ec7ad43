"""What the protocol is told of the model: its versions, tensors, configuration and counts."""

from collections.abc import Iterator

from nasfeat.inference.v2 import inference_pb2, model_config_pb2
from nasfeat_server.config import RequestLimits
from nasfeat_server.errors import InvalidRequestError, ModelNotFoundError
from nasfeat_server.facades.open_inference_tensors import INPUT
from nasfeat_server.network.outputs import FEATURE_VECTOR
from nasfeat_server.rpc.catalog import Catalog, Served
from nasfeat_server.rpc.control import ModelState, ServerState
from nasfeat_server.telemetry.events import ModelLabel, Stage
from nasfeat_server.telemetry.version_counts import Duration, VersionCounts

OUTPUT = "features"
PLATFORM = "nasfeat"
HIGH, NORMAL, LOW = 1, 2, 3
"""The levels of `priority`."""

_Tensor = inference_pb2.ModelMetadataResponse.TensorMetadata
_Index = inference_pb2.RepositoryIndexResponse.ModelIndex
_RETIRING = "retiring"


def versions(catalog: Catalog, name: str, version: str) -> list[Served]:
    """Find the versions that are meant: of the model `name`, or of every one if that is "".

    Args:
        catalog: has them.
        name: the model's.
        version: the operator's name for the weights, or a label; "" for any.
    """
    own = {served.model.identity.name for served in catalog.served}
    # A name that the operator gave is every version's.
    given = not name or (name in catalog.names and name not in own)
    return [
        served
        for served in catalog.served
        if (given or name == served.model.identity.name) and (not version or version in (served.version, served.label))
    ]


def find(catalog: Catalog, name: str, version: str) -> Served:
    """Give the version that is described to a client: the stable one, if it names none.

    Raises:
        ModelNotFoundError: there is no such model, or no such version of it.
    """
    if not name:
        raise InvalidRequestError("the request names no model, or is no message of this method")
    if found := versions(catalog, name, version):
        return found[0]
    there = "; ".join(
        f"{served.model.identity.name!r} in version {served.version!r} as {served.label}" for served in catalog.served
    )
    # As a request's own names they may have any length, and a status travels in headers of a few kilobytes.
    wanted = f"{name[:80]!r} version {version[:80]!r}" if version else f"{name[:80]!r}"
    raise ModelNotFoundError(f"request for unknown model: {wanted} is not found; there is {there}")


def choose(catalog: Catalog, name: str, version: str) -> Served:
    """Give the version that a request goes to: by the shares, if it names none.

    Raises:
        ModelNotFoundError: there is no such model, or no such version of it.
    """
    found = find(catalog, name, version)
    if version:
        return found
    chosen = catalog.choose()
    return chosen if chosen in versions(catalog, name, "") else found


def is_ready(state: ServerState, catalog: Catalog, name: str, version: str) -> bool:
    """Say whether a version that is meant has a device that takes work; one that there is not is not ready."""
    meant = versions(catalog, name, version) if name else []
    return any(model.served in meant and model.warm_devices for model in state.models)


def metadata(catalog: Catalog, name: str, version: str) -> inference_pb2.ModelMetadataResponse:
    """Describe the tensors of a model.

    Raises:
        ModelNotFoundError: there is no such model, or no such version of it.
    """
    description = find(catalog, name, version).description
    images = (-1, description.image_height, description.image_width, 3)
    return inference_pb2.ModelMetadataResponse(
        name=name,
        versions=[served.version for served in versions(catalog, name, "")],
        platform=PLATFORM,
        inputs=[_Tensor(name=INPUT, datatype="UINT8", shape=images)],
        outputs=[_Tensor(name=OUTPUT, datatype="FP32", shape=(-1, *description.output_shapes[FEATURE_VECTOR]))],
    )


def config(catalog: Catalog, name: str, version: str, limits: RequestLimits) -> model_config_pb2.ModelConfig:
    """Describe how a model is served.

    Raises:
        ModelNotFoundError: there is no such model, or no such version of it.
    """
    served = find(catalog, name, version)
    description, identity = served.description, served.model.identity
    facts = {
        "precision": identity.precision,
        "preprocessing_digest": identity.preprocessing_digest,
        "trained": str(identity.trained).lower(),
        "weights_digest": identity.weights_digest,
        # What may be asked for beside what is declared as an output, which clients take for what they must ask for.
        "outputs": ",".join(description.output_shapes),
    }
    return model_config_pb2.ModelConfig(
        name=name,
        platform=PLATFORM,
        backend=PLATFORM,
        max_batch_size=limits.max_images_per_call,
        input=[
            model_config_pb2.ModelInput(
                name=INPUT,
                data_type=model_config_pb2.TYPE_UINT8,
                format=model_config_pb2.ModelInput.FORMAT_NHWC,
                dims=(description.image_height, description.image_width, 3),
            )
        ],
        output=[
            model_config_pb2.ModelOutput(
                name=OUTPUT, data_type=model_config_pb2.TYPE_FP32, dims=description.output_shapes[FEATURE_VECTOR]
            )
        ],
        dynamic_batching=model_config_pb2.ModelDynamicBatching(
            preserve_ordering=True, priority_levels=LOW, default_priority_level=NORMAL
        ),
        model_transaction_policy=model_config_pb2.ModelTransactionPolicy(decoupled=False),
        response_cache=model_config_pb2.ModelResponseCache(enable=served.path.sharing.caches),
        parameters={name: model_config_pb2.ModelParameter(string_value=value) for name, value in facts.items()},
    )


def statistics(catalog: Catalog, name: str, version: str) -> inference_pb2.ModelStatisticsResponse:
    """Tell what versions have done since they were loaded, whichever protocol their images came by.

    Raises:
        ModelNotFoundError: there is no such model, or no such version of it.
    """
    if name:
        find(catalog, name, version)
    return inference_pb2.ModelStatisticsResponse(
        model_stats=[
            _statistics(name or served.model.identity.name, served.version, served.counts)
            for served in versions(catalog, name, version)
            if served.counts
        ]
    )


def _statistics(name: str, version: str, counts: VersionCounts) -> inference_pb2.ModelStatistics:
    stages = counts.stages
    # Clients compute means, and refuse counts that differ; what an image did not need took it no time.
    count = counts.success.count
    return inference_pb2.ModelStatistics(
        name=name,
        version=version,
        last_inference=int(counts.last_at * 1e3),
        inference_count=count,
        execution_count=sum(batch.count for batch in counts.batches.values()),
        inference_stats=inference_pb2.InferStatistics(
            success=_duration(count, counts.success),
            fail=_duration(counts.fail.count, counts.fail),
            # Both are waiting: for a place, and then for a device.
            queue=_duration(count, stages[Stage.RECEIVE], stages[Stage.QUEUE]),
            compute_input=_duration(count, stages[Stage.DECODE]),
            compute_infer=_duration(count, stages[Stage.EXECUTE]),
            compute_output=_duration(count, stages[Stage.REPLY]),
            cache_hit=_duration(counts.cached.count, counts.cached),
        ),
        batch_stats=[
            inference_pb2.InferBatchStatistics(batch_size=size, compute_infer=_duration(batch.count, batch))
            for size, batch in sorted(counts.batches.items())
        ],
    )


def _duration(count: int, *durations: Duration) -> inference_pb2.StatisticDuration:
    seconds = sum(duration.seconds for duration in durations)
    return inference_pb2.StatisticDuration(count=count, ns=round(seconds * 1e9))


def index(state: ServerState, *, ready: bool) -> inference_pb2.RepositoryIndexResponse:
    """List the versions that there are, or those that take work."""
    models = list(_index(state))
    return inference_pb2.RepositoryIndexResponse(
        models=[model for model in models if not ready or model.state == "READY"]
    )


def _index(state: ServerState) -> Iterator[_Index]:
    for model in state.models:
        identity = model.served.model.identity
        condition, reason = _condition(model)
        yield _Index(name=identity.name, version=identity.version, state=condition, reason=reason)
    if state.loading and state.models:
        name = state.models[0].served.model.identity.name
        yield _Index(name=name, version=state.loading, state="LOADING")


def _condition(model: ModelState) -> tuple[str, str]:
    if model.label == _RETIRING:
        return "UNLOADING", "its last calls are being finished"
    if not model.warm_devices:
        return "UNAVAILABLE", "its replicas are being started again"
    return "READY", "" if model.label == ModelLabel.STABLE else f"as {model.label}"
