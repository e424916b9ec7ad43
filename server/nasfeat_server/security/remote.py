"""Accounts of tenants for front ends in processes of their own: stand-ins there, a counterpart where they are kept."""

import asyncio
import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterable

from nasfeat_server.errors import OverloadedError
from nasfeat_server.scheduling.meter import Meter
from nasfeat_server.scheduling.remote.link import Handler
from nasfeat_server.security.accounts import OwnAccount
from nasfeat_server.security.tokens import Quota

_Send = Callable[..., None]


class RemoteAccounts:
    """Opens accounts that are kept in another process.

    Args:
        send: takes a message to it.

    Attributes:
        handlers: for its messages.
    """

    def __init__(self, send: _Send) -> None:
        self.handlers: dict[str, Handler] = {
            "passed": self._passed,
            "not_passed": self._not_passed,
            "entered": self._entered,
            "not_entered": self._not_entered,
        }
        self._send = send
        self._numbers = itertools.count()
        # What is asked for, whose it is, and whether it could be had.
        self._frames: dict[int, tuple[str, asyncio.Future[float | None]]] = {}
        self._streams: dict[int, tuple[str, asyncio.Future[str]]] = {}
        self._admitted: Counter[str] = Counter()

    def open(self, name: str, quota: Quota) -> "RemoteAccount":
        """Stand for the account of the tenant `name`."""
        return RemoteAccount(self, name, quota)

    def report(self) -> None:
        """Tell how many frames took a slot since the last time."""
        if self._admitted:
            self._send("admitted", tuple(self._admitted.items()))
            self._admitted.clear()

    def admit(self, name: str) -> None:
        """Count a frame that took a slot."""
        self._admitted[name] += 1

    async def ask_frame(self, name: str, *, waits: bool) -> float | None:
        """Ask whether a frame may pass; gives None if so, else when one could, in seconds. One that `waits` may."""
        number = next(self._numbers)
        answer: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()
        self._frames[number] = name, answer
        self._send("pass", number, name, waits)
        try:
            return await answer
        except asyncio.CancelledError:
            if number in self._frames:
                self._send("leave_line", number)
            elif answer.done() and not answer.cancelled() and answer.result() is None:
                # It came in the turn of the loop in which nobody wanted it any more.
                self.give_back(name)
            raise

    def give_back(self, name: str) -> None:
        """Take one frame back that was let through and went no further."""
        self._send("give_back", name)

    async def ask_stream(self, name: str) -> None:
        """Count one more stream.

        Raises:
            OverloadedError: the tenant has as many as it may.
        """
        number = next(self._numbers)
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._streams[number] = name, answer
        self._send("enter", number, name)
        try:
            refusal = await answer
        except asyncio.CancelledError:
            if number not in self._streams and answer.done() and not answer.cancelled() and not answer.result():
                self.leave(name)
            raise
        if refusal:
            raise OverloadedError(refusal)

    def leave(self, name: str) -> None:
        """Count one stream less."""
        self._send("leave", name)

    def _passed(self, number: int) -> None:
        name, answer = self._frames.pop(number)
        if answer.done():
            # Given up while this was on its way.
            self.give_back(name)
        else:
            answer.set_result(None)

    def _not_passed(self, number: int, ready_in_s: float) -> None:
        _, answer = self._frames.pop(number)
        if not answer.done():
            answer.set_result(ready_in_s)

    def _entered(self, number: int) -> None:
        name, answer = self._streams.pop(number)
        if answer.done():
            self.leave(name)
        else:
            answer.set_result("")

    def _not_entered(self, number: int, refusal: str) -> None:
        _, answer = self._streams.pop(number)
        if not answer.done():
            answer.set_result(refusal)


class RemoteAccount:
    """An `Account`, and its meter too, that another process keeps."""

    def __init__(self, accounts: RemoteAccounts, name: str, quota: Quota) -> None:
        """Stand for that of the tenant `name`."""
        self.meter = self
        self._accounts = accounts
        self._name = name
        self._quota = quota
        self._ready_in_s = 0.0

    @property
    def per_second(self) -> float | None:
        """The rate in force, in frames a second; None if there is no limit."""
        return self._quota.rate.per_second if self._quota.rate else None

    def ready_in_s(self) -> float:
        """Tell after how many seconds a frame could pass, as it was when one could not."""
        return self._ready_in_s

    def admit(self) -> None:
        """Count a frame that took a slot."""
        self._accounts.admit(self._name)

    async def pass_at_once(self) -> bool:
        """Let one frame through if it need not wait."""
        ready_in_s = await self._accounts.ask_frame(self._name, waits=False) if self._quota.rate else None
        self._ready_in_s = ready_in_s or 0.0
        return ready_in_s is None

    async def pass_in_turn(self) -> None:
        """Let one frame through when it is due."""
        if self._quota.rate:
            await self._accounts.ask_frame(self._name, waits=True)

    def give_back(self) -> None:
        """Take one frame back that was let through and went no further."""
        if self._quota.rate:
            self._accounts.give_back(self._name)

    async def enter(self) -> None:
        """Count one more stream.

        Raises:
            OverloadedError: the tenant has as many as it may.
        """
        await self._accounts.ask_stream(self._name)

    def leave(self) -> None:
        """Count one stream less."""
        self._accounts.leave(self._name)

    def change(self, quota: Quota) -> None:
        """Go on with another quota, as the process does that keeps the account, which reads the same file."""
        self._quota = quota


class AccountsCounterpart:
    """What the stand-ins of one front end speak to; knows what that has, so that all comes back if it dies.

    Args:
        find: gives the account of a tenant; None for one that is not known here, which may do as it likes until its own
            process has heard of that.
        send: takes a message to the front end.

    Attributes:
        handlers: for the front end's messages.
    """

    def __init__(self, find: Callable[[str], OwnAccount | None], send: _Send) -> None:
        self.handlers: dict[str, Handler] = {
            "pass": self._pass,
            "leave_line": self._leave_line,
            "give_back": self._give_back,
            "enter": self._enter,
            "leave": self._leave,
            "admitted": self._admitted,
        }
        self._find = find
        self._send = send
        self._turns: dict[int, tuple[Meter, asyncio.Future[None]]] = {}
        self._streams: list[tuple[str, OwnAccount]] = []

    def close(self) -> None:
        """Take everything back: the front end's process is gone."""
        for meter, turn in self._turns.values():
            meter.leave_line(turn)
        for _, account in self._streams:
            account.leave()
        self._turns.clear()
        self._streams.clear()

    def _pass(self, number: int, name: str, waits: bool) -> None:
        account = self._find(name)
        if account is None or account.meter.pass_now():
            self._send("passed", number)
        elif waits:
            turn = account.meter.line_up()
            self._turns[number] = account.meter, turn
            turn.add_done_callback(functools.partial(self._its_turn, number))
        else:
            self._send("not_passed", number, account.meter.ready_in_s())

    def _its_turn(self, number: int, _: asyncio.Future[None]) -> None:
        # Not there any more if the place has been given up.
        if self._turns.pop(number, None):
            self._send("passed", number)

    def _leave_line(self, number: int) -> None:
        if place := self._turns.pop(number, None):
            meter, turn = place
            meter.leave_line(turn)
            # The front end waits for the end of what it has asked.
            self._send("not_passed", number, 0.0)

    def _give_back(self, name: str) -> None:
        if account := self._find(name):
            account.meter.give_back()

    def _enter(self, number: int, name: str) -> None:
        if account := self._find(name):
            try:
                account.enter_now()
            except OverloadedError as error:
                self._send("not_entered", number, str(error))
                return
            self._streams.append((name, account))
        self._send("entered", number)

    def _leave(self, name: str) -> None:
        # It may have been a stream of one who was not known here, and of two with one name one is as good as the other.
        place = next((place for place in self._streams if place[0] == name), None)
        if place:
            self._streams.remove(place)
            place[1].leave()

    def _admitted(self, counts: Iterable[tuple[str, int]]) -> None:
        for name, count in counts:
            if account := self._find(name):
                account.meter.admitted += count
