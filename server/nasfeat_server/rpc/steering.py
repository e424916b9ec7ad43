"""Who of several processes that listen on one port gets the next connection.

The kernel spreads the connections of a port that several sockets share (SO_REUSEPORT) by a hash: of few long streams,
some processes so get twice as many as others. A program of a few instructions can choose instead: here it names the
process that has the least to do, and is replaced whenever that changes. docs/FRONT_ENDS.md compares the ways.
"""

import contextlib
import ctypes
import errno
import logging
import os
import socket
import stat
import struct
from collections.abc import Sequence
from pathlib import Path

from nasfeat_server.config import Endpoint
from nasfeat_server.errors import ConfigurationError

_log = logging.getLogger(__name__)

# <asm-generic/socket.h> and <linux/filter.h>; the socket module does not have them.
_SO_ATTACH_REUSEPORT_CBPF = 51
_RETURN, _RETURN_A, _LOAD, _MODULO, _JUMP_IF_EQUAL = 0x06, 0x16, 0x20, 0x94, 0x15
_RANDOM = 0xFFFFF000 + 56
_INSTRUCTION = struct.Struct("HBBI")
_PROGRAM = struct.Struct("HP")


def hold(endpoint: Endpoint) -> tuple[Endpoint, list[socket.socket]]:
    """Take a port that several processes of this user will listen on, and nobody else may.

    Returns:
        The endpoint, its port filled in, and sockets that hold it while they are open and listen to nothing.

    Raises:
        ConfigurationError: the address cannot be listened on.
    """
    held: list[socket.socket] = []
    try:
        port = endpoint.port
        for family, kind, _, _, address in socket.getaddrinfo(endpoint.host, port, type=socket.SOCK_STREAM):
            one = socket.socket(family, kind)
            held.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((address[0], port))
            port = one.getsockname()[1]
            # In this order: a port that others share is in use as any other, and this one is shared from now on alone.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError as error:
        for one in held:
            one.close()
        raise ConfigurationError(f"cannot listen on {endpoint}: is the port in use? ({error})") from error
    return Endpoint(host=endpoint.host, port=port), held


def listening(port: int) -> list[socket.socket]:
    """Find the sockets of this process that listen on `port`: gRPC does not give them away. They are copies."""
    found: list[socket.socket] = []
    for path in Path("/proc/self/fd").iterdir():
        if any(one.fileno() == int(path.name) for one in found):
            # A copy, under the number that the descriptor of the listing had.
            continue
        try:
            if not stat.S_ISSOCK(os.fstat(int(path.name)).st_mode):
                continue
            one = socket.socket(fileno=os.dup(int(path.name)))
        except OSError:
            # The descriptor of the listing itself, and what has been closed meanwhile.
            continue
        if _listens(one, port):
            found.append(one)
        else:
            one.close()
    return found


def _listens(one: socket.socket, port: int) -> bool:
    if one.family not in {socket.AF_INET, socket.AF_INET6}:
        return False
    accepts = one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    return bool(accepts) and one.getsockname()[1] == port


class Connections:
    """Counts the connections of this process to a port, which gRPC does not tell of."""

    def __init__(self, port: int) -> None:
        """Look at nothing yet."""
        self._port = port
        # By the name that the kernel gives to a socket for its life.
        self._known: dict[str, bool] = {}

    def count(self) -> int:
        """Count those that are open now."""
        known: dict[str, bool] = {}
        for path in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                name = str(path.readlink())
                if name.startswith("socket:"):
                    known[name] = self._known[name] if name in self._known else self._is_connection(int(path.name))
        self._known = known
        return sum(known.values())

    def _is_connection(self, fd: int) -> bool:
        with socket.socket(fileno=os.dup(fd)) as one:
            if one.family not in {socket.AF_INET, socket.AF_INET6}:
                return False
            try:
                one.getpeername()
            except OSError:
                return False
            return bool(one.getsockname()[1] == self._port)


def program(least: Sequence[int]) -> bytes:
    """Give the instructions that choose one of the sockets `least`, by chance if there are several."""
    if len(least) == 1:
        return _INSTRUCTION.pack(_RETURN, 0, 0, least[0])
    code = [(_LOAD, 0, 0, _RANDOM), (_MODULO, 0, 0, len(least))]
    for number, index in enumerate(least):
        code += [(_JUMP_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, index)]
    # Never reached; the kernel demands that the last one returns.
    code.append((_RETURN_A, 0, 0, 0))
    return b"".join(_INSTRUCTION.pack(*one) for one in code)


def attach(one: socket.socket, instructions: bytes) -> None:
    """Let `instructions` choose among the sockets that share the port of `one`.

    Raises:
        OSError: this kernel does not.
    """
    code = ctypes.create_string_buffer(instructions, len(instructions))
    count = len(instructions) // _INSTRUCTION.size
    filled = _PROGRAM.pack(count, ctypes.addressof(code))
    one.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, filled)


class Steering:
    """Sends each new connection to the member with the least load.

    It holds copies of the members' sockets, so that it is it that decides when one leaves the group: the kernel numbers
    them in the order in which they began to listen, and moves the last one to the place of one that leaves.
    """

    def __init__(self) -> None:
        """Start without members."""
        self._members: list[int] = []
        self._sockets: dict[int, list[socket.socket]] = {}
        self._loads: dict[int, int] = {}
        self._attached: tuple[int, ...] = ()
        self._can = True

    def join(self, member: int, sockets: list[socket.socket]) -> None:
        """Take in `member`, which has just begun to listen with `sockets`, one to each address."""
        self._members.append(member)
        self._sockets[member] = sockets
        self._loads[member] = 0
        self._steer(anew=True)

    def suspend(self, member: int) -> None:
        """Send nothing more to `member`, which is dying."""
        if self._loads.pop(member, None) is not None:
            self._steer()

    def leave(self, member: int) -> None:
        """Forget `member`, whose process is gone: what connected to it and was not accepted is refused now."""
        self._loads.pop(member, None)
        for one in self._sockets.pop(member, ()):
            one.close()
        if member in self._members:
            place, last = self._members.index(member), self._members.pop()
            if last != member:
                self._members[place] = last
            self._steer(anew=True)

    def load(self, member: int, load: int) -> None:
        """Note how much `member` has to do."""
        if member in self._loads and self._loads[member] != load:
            self._loads[member] = load
            self._steer()

    def close(self) -> None:
        """Let go of all sockets."""
        for member in tuple(self._members):
            self.leave(member)

    def _steer(self, *, anew: bool = False) -> None:
        if not (self._loads and self._can):
            return
        least = min(self._loads.values())
        chosen = tuple(place for place, one in enumerate(self._members) if self._loads.get(one) == least)
        if chosen == self._attached and not anew:
            return
        self._attached = chosen
        try:
            for one in self._sockets[self._members[chosen[0]]]:
                attach(one, program(chosen))
        except OSError as error:
            self._can = False
            _log.warning(
                "this kernel does not let us steer connections (%s): they are spread by chance",
                errno.errorcode.get(error.errno or 0),
            )
