"""TensorFlow Serving's words for what is served: versions that are numbers, signatures, states."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from google.protobuf import any_pb2, wrappers_pb2

from nasfeat.tfserving.v1 import serving_pb2
from nasfeat_server.engine.interface import ModelDescription
from nasfeat_server.errors import InvalidRequestError, ModelNotFoundError
from nasfeat_server.facades.tfserving_tensors import FLOAT, shape_of
from nasfeat_server.network.outputs import SIGNATURES
from nasfeat_server.rpc.catalog import Catalog, Served
from nasfeat_server.rpc.control import ServerState

DEFAULT_SIGNATURE = "serving_default"
INPUT, OUTPUT = "images", "default"
_SIGNATURES: Mapping[str, str] = {DEFAULT_SIGNATURE: SIGNATURES["image_feature_vector"], **SIGNATURES}
_SIGNATURE_DEF = "signature_def"
_PACKED_AS = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
_PREDICT = "tensorflow/serving/predict"
_RETIRING = "retiring"


def number_of(version: str) -> int:
    """Give the number of a version: its own if its name is one, else one made of its name, the same on every server.

    Returns:
        0 to 2**63 - 1; one that is made is below 2**53, so that JSON can hold it.
    """
    if version.isascii() and version.isdecimal() and str(int(version)) == version and int(version) < 2**63:
        return int(version)
    return int.from_bytes(hashlib.sha256(version.encode()).digest()[:8], "big") >> 11


def find(catalog: Catalog, spec: serving_pb2.ModelSpec, *, by_share: bool = False) -> Served:
    """Give the version that is meant.

    Args:
        catalog: the versions.
        spec: may name one, by its number or a label.
        by_share: where none is named, let the shares decide, as they do for new calls; else it is the stable one.

    Raises:
        ModelNotFoundError: there is no such model, or no such version of it.
        InvalidRequestError: no version has that label.
    """
    _check_name(catalog, spec.name)
    if spec.HasField("version_label"):
        return _labelled(catalog, spec.version_label)
    if spec.HasField("version"):
        return _numbered(catalog, spec.version.value)
    return catalog.choose() if by_share else catalog.find("")


def _check_name(catalog: Catalog, name: str) -> None:
    if name and name not in catalog.names:
        # Cut, since a status travels in headers of a few kilobytes.
        raise ModelNotFoundError(
            f"Servable not found for request: there is no model {name[:80]!r} here, only {', '.join(catalog.names)}"
        )


def _labelled(catalog: Catalog, label: str) -> Served:
    for served in catalog.served:
        if label in (served.label, served.version):
            return served
    labels = ", ".join(served.label for served in catalog.served)
    raise InvalidRequestError(f"Unrecognized servable version label: {label[:80]!r} is none of {labels}")


def _numbered(catalog: Catalog, number: int) -> Served:
    there = {number_of(served.version): served for served in reversed(catalog.served)}
    if number not in there:
        raise _no_version(number, there)
    return there[number]


def _no_version(number: int, there: Iterable[int]) -> ModelNotFoundError:
    numbers = ", ".join(map(str, there))
    return ModelNotFoundError(f"Servable not found for request: there is no version {number}, only {numbers}")


def spec_of(served: Served, asked: serving_pb2.ModelSpec, signature: str = "") -> serving_pb2.ModelSpec:
    """Say which version it was, under the name by which it was `asked` for."""
    return serving_pb2.ModelSpec(
        name=asked.name or served.model.identity.name,
        version=wrappers_pb2.Int64Value(value=number_of(served.version)),
        signature_name=signature,
    )


def signature_of(spec: serving_pb2.ModelSpec, description: ModelDescription) -> tuple[str, str]:
    """Give the name of the signature that is asked for, and the output that is its default.

    Raises:
        InvalidRequestError: there is none of that name.
    """
    signatures = _signatures(description)
    name = spec.signature_name or DEFAULT_SIGNATURE
    if name not in signatures:
        raise InvalidRequestError(f"there is no signature {name[:80]!r}; these weights have {', '.join(signatures)}")
    return name, signatures[name]


def outputs_of(filtered: Sequence[str], default: str, description: ModelDescription) -> dict[str, str]:
    """Resolve an output filter: of each name that is asked for the output's own.

    Raises:
        InvalidRequestError: an output is unknown or named twice.
    """
    outputs = {}
    for name in filtered or (OUTPUT,):
        own = default if name == OUTPUT else name
        if own not in description.output_shapes:
            there = ", ".join((OUTPUT, *description.output_shapes))
            raise InvalidRequestError(f"there is no output {name[:80]!r}: these weights give {there}")
        if name in outputs:
            raise InvalidRequestError(f"output {name} is asked for twice")
        outputs[name] = own
    return outputs


def _signatures(description: ModelDescription) -> dict[str, str]:
    return {name: output for name, output in _SIGNATURES.items() if output in description.output_shapes}


def metadata_of(served: Served, fields: Sequence[str]) -> dict[str, any_pb2.Any]:
    """Describe the signatures.

    Raises:
        InvalidRequestError: something else is asked for, or nothing.
    """
    if not fields:
        raise InvalidRequestError(f"metadata_field is empty; ask for {_SIGNATURE_DEF!r}")
    if unknown := next((field for field in fields if field != _SIGNATURE_DEF), None):
        raise InvalidRequestError(f"there is no metadata {unknown[:80]!r}, only {_SIGNATURE_DEF!r}")
    description = served.description
    signatures = {name: _signature(output, description) for name, output in _signatures(description).items()}
    packed = serving_pb2.SignatureDefMap(signature_def=signatures).SerializeToString()
    return {_SIGNATURE_DEF: any_pb2.Any(type_url=_PACKED_AS, value=packed)}


def _signature(output: str, description: ModelDescription) -> serving_pb2.SignatureDef:
    images = (-1, description.image_height, description.image_width, 3)
    return serving_pb2.SignatureDef(
        inputs={INPUT: _info(INPUT, images)},
        outputs={OUTPUT: _info(output, (-1, *description.output_shapes[output]))},
        method_name=_PREDICT,
    )


def _info(name: str, shape: Sequence[int]) -> serving_pb2.TensorInfo:
    return serving_pb2.TensorInfo(name=f"{name}:0", dtype=FLOAT, tensor_shape=shape_of(shape))


def states_of(
    catalog: Catalog, state: ServerState, spec: serving_pb2.ModelSpec
) -> list[serving_pb2.ModelVersionStatus]:
    """Say in which state the versions are that are meant, the highest first.

    Raises:
        ModelNotFoundError: there is no such model, or no such version of it.
        InvalidRequestError: no version has that label.
    """
    _check_name(catalog, spec.name)
    states = dict(_states(state))
    if spec.HasField("version_label"):
        wanted = number_of(_labelled(catalog, spec.version_label).version)
    elif spec.HasField("version"):
        wanted = spec.version.value
    else:
        return [_status(number, states[number]) for number in sorted(states, reverse=True)]
    if wanted not in states:
        raise _no_version(wanted, states)
    return [_status(wanted, states[wanted])]


def _states(state: ServerState) -> Iterator[tuple[int, serving_pb2.VersionState.ValueType]]:
    """Give the state of each version; of two of one name the last counts."""
    for model in reversed(state.models):
        number = number_of(model.served.version)
        if model.label == _RETIRING:
            yield number, serving_pb2.VERSION_STATE_UNLOADING
        elif model.warm_devices:
            yield number, serving_pb2.VERSION_STATE_AVAILABLE
        else:
            # Its replicas are being started again.
            yield number, serving_pb2.VERSION_STATE_LOADING
    if state.loading:
        yield number_of(state.loading), serving_pb2.VERSION_STATE_LOADING


def _status(number: int, state: serving_pb2.VersionState.ValueType) -> serving_pb2.ModelVersionStatus:
    return serving_pb2.ModelVersionStatus(version=number, state=state, status=serving_pb2.VersionError())
