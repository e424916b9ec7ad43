"""Prometheus' own messages for metrics, as far as we write them: the one format in which it reads native histograms.

Described by hand from https://github.com/prometheus/client_model, where every number is documented, in a pool of their
own: a library in the same process may bring the same messages.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FieldType = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "io.prometheus.client"

_DOUBLE, _STRING = _FieldType.TYPE_DOUBLE, _FieldType.TYPE_STRING
_UINT32, _UINT64 = _FieldType.TYPE_UINT32, _FieldType.TYPE_UINT64
_SINT32, _SINT64 = _FieldType.TYPE_SINT32, _FieldType.TYPE_SINT64

_TYPES = {"COUNTER": 0, "GAUGE": 1, "UNTYPED": 3, "HISTOGRAM": 4}
_REPEATED = {"bucket", "label", "metric", "positive_delta", "positive_span"}
# Field by field: its number, and its type or the message that it holds.
_MESSAGES: dict[str, dict[str, tuple[int, _FieldType.Type.ValueType | str]]] = {
    "LabelPair": {"name": (1, _STRING), "value": (2, _STRING)},
    "Gauge": {"value": (1, _DOUBLE)},
    "Counter": {"value": (1, _DOUBLE)},
    "Untyped": {"value": (1, _DOUBLE)},
    "Bucket": {"cumulative_count": (1, _UINT64), "upper_bound": (2, _DOUBLE)},
    "BucketSpan": {"offset": (1, _SINT32), "length": (2, _UINT32)},
    "Histogram": {
        "sample_count": (1, _UINT64),
        "sample_sum": (2, _DOUBLE),
        "bucket": (3, "Bucket"),
        "schema": (5, _SINT32),
        "zero_threshold": (6, _DOUBLE),
        "zero_count": (7, _UINT64),
        "positive_span": (12, "BucketSpan"),
        "positive_delta": (13, _SINT64),
    },
    "Metric": {
        "label": (1, "LabelPair"),
        "gauge": (2, "Gauge"),
        "counter": (3, "Counter"),
        "untyped": (5, "Untyped"),
        "histogram": (7, "Histogram"),
    },
    "MetricFamily": {
        "name": (1, _STRING),
        "help": (2, _STRING),
        "type": (3, "MetricType"),
        "metric": (4, "Metric"),
    },
}


def _describe() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="metrics.proto", package=_PACKAGE, syntax="proto2")
    types = file.enum_type.add(name="MetricType")
    for name, number in _TYPES.items():
        types.value.add(name=name, number=number)
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for name, (number, kind) in fields.items():
            field = message.field.add(name=name, number=number)
            field.label = _FieldType.LABEL_REPEATED if name in _REPEATED else _FieldType.LABEL_OPTIONAL
            if isinstance(kind, str):
                field.type_name = f".{_PACKAGE}.{kind}"
            else:
                field.type = kind
    return file


def _family_class() -> Any:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(_describe().SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.MetricFamily"))


MetricFamily: Any = _family_class()
"""The message of one metric with all its series."""

COUNTER, GAUGE, UNTYPED, HISTOGRAM = _TYPES.values()
