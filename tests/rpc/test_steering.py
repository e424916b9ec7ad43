"""Connections of one port spread over the sockets that share it, on this machine's kernel."""

import contextlib
import select
import socket
from collections.abc import Iterator

import pytest

from nasfeat_server.config import Endpoint
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.rpc import steering


class _Member:
    """Stands for a front end: accepts what comes to its socket."""

    def __init__(self, listen: Endpoint) -> None:
        self.accepted: list[socket.socket] = []
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.listener.bind((listen.host, listen.port))
        self.listener.listen()
        self.listener.setblocking(False)  # noqa: FBT003 - the library's

    def accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self.accepted.append(self.listener.accept()[0])

    def copy(self) -> list[socket.socket]:
        return [self.listener.dup()]

    def close(self) -> None:
        for one in (self.listener, *self.accepted):
            one.close()


@pytest.fixture
def listen() -> Iterator[Endpoint]:
    """Hold a port."""
    endpoint, held = steering.hold(Endpoint(host="127.0.0.1", port=0))
    yield endpoint
    for one in held:
        one.close()


def _connect(listen: Endpoint, members: dict[int, _Member], chosen: steering.Steering) -> socket.socket:
    """Connect, and tell of it as a front end does."""
    client = socket.create_connection((listen.host, listen.port))
    select.select([member.listener for member in members.values()], [], [], 30)
    for number, member in members.items():
        member.accept()
        chosen.load(number, len(member.accepted))
    return client


def test_one_after_the_other_goes_to_the_least_loaded_also_when_members_come_and_go(listen: Endpoint) -> None:
    """Never does a member have two more than another; one that was started again catches up first."""
    members = {number: _Member(listen) for number in range(4)}
    chosen = steering.Steering()
    for number, member in members.items():
        chosen.join(number, member.copy())
    clients = []
    for count in range(1, 25):
        clients.append(_connect(listen, members, chosen))
        loads = sorted(len(member.accepted) for member in members.values())
        assert sum(loads) == count
        assert loads[-1] - loads[0] <= 1
    # Not the last: the kernel moves the last one to its place.
    members.pop(1).close()
    chosen.leave(1)
    clients += [_connect(listen, members, chosen) for _ in range(3)]
    assert sorted(len(member.accepted) for member in members.values()) == [7, 7, 7]
    members[1] = _Member(listen)
    chosen.join(1, members[1].copy())
    clients += [_connect(listen, members, chosen) for _ in range(8)]
    assert sorted(len(member.accepted) for member in members.values()) == [7, 7, 7, 8]
    chosen.close()
    for client in clients:
        client.close()
    for member in members.values():
        member.close()


def test_a_port_that_is_held_is_in_use_for_everybody_else(listen: Endpoint) -> None:
    """Another server is refused, whether it would share or not; so is one where somebody listens already."""
    with pytest.raises(ConfigurationError, match="is the port in use"):
        steering.hold(listen)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind((listen.host, listen.port))
    member = _Member(listen)
    with pytest.raises(ConfigurationError, match="is the port in use"):
        steering.hold(listen)
    member.close()


def test_connections_are_counted_and_what_listens_is_found(listen: Endpoint) -> None:
    """Those of one port alone, and not the ends of clients."""
    counted = steering.Connections(listen.port)
    member = _Member(listen)
    found = steering.listening(listen.port)
    assert [one.getsockname() for one in found] == [(listen.host, listen.port)]
    clients = [socket.create_connection((listen.host, listen.port)) for _ in range(3)]
    while len(member.accepted) < 3:
        member.accept()
    assert counted.count() == 3
    for one in (*found, *clients):
        one.close()
    member.close()
    assert counted.count() == 0


def test_a_kernel_that_cannot_steer_is_told_of_once(
    listen: Endpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Connections are then spread by the kernel's hash, with a warning."""

    def refuse(*_: object) -> None:
        raise OSError(92, "Protocol not available")

    monkeypatch.setattr(steering, "attach", refuse)
    chosen, members = steering.Steering(), [_Member(listen) for _ in range(2)]
    for number, member in enumerate(members):
        chosen.join(number, member.copy())
    chosen.load(0, 3)
    assert [record.message for record in caplog.records] == [
        "this kernel does not let us steer connections (ENOPROTOOPT): they are spread by chance"
    ]
    chosen.close()
    for member in members:
        member.close()
