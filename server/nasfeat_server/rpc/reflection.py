"""What reflection tells: every service under the name by which it is called.

Messages of other servers' protocols are of packages of our own here. Whoever asks is told of those that the protocols
have: on the wire there is no difference.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto

from nasfeat_server.rpc.service import Service


def described(own: Iterable[str], others: Sequence[Service]) -> descriptor_pool.DescriptorPool:
    """Describe services.

    Args:
        own: the names of those that protobuf knows.
        others: those that stand beside them.
    """
    files = [descriptor_pool.Default().FindFileContainingSymbol(name) for name in own]
    packages = {}
    for service in others:
        for kind in service.requests.values():
            files.append(kind.file)
            packages[kind.file.package] = service.name.rpartition(".")[0]
    pool = descriptor_pool.DescriptorPool()
    # Each once, behind those that it imports.
    for file in dict.fromkeys(_with_imports(files)):
        proto = FileDescriptorProto()
        file.CopyToProto(proto)
        _rename(proto, packages)
        pool.Add(proto)
    return pool


def _with_imports(files: Iterable[FileDescriptor]) -> Iterator[FileDescriptor]:
    for file in files:
        yield from _with_imports(file.dependencies)
        yield file


def _rename(file: FileDescriptorProto, packages: Mapping[str, str]) -> None:
    """Move a file, and what it refers to, into the packages by which clients know them."""

    def told(name: str) -> str:
        old = next((package for package in packages if name.startswith(f".{package}.")), None)
        return f".{packages[old]}{name[len(old) + 1 :]}" if old else name

    file.package = packages.get(file.package, file.package)
    for message in _messages(file.message_type):
        for field in message.field:
            if field.type_name:
                field.type_name = told(field.type_name)
    for service in file.service:
        for method in service.method:
            method.input_type, method.output_type = told(method.input_type), told(method.output_type)


def _messages(messages: Iterable[DescriptorProto]) -> Iterator[DescriptorProto]:
    for message in messages:
        yield message
        yield from _messages(message.nested_type)
