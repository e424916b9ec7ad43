"""One client process: `python -m tests.soak.client ADDRESS TALLY SEED`, until its standard input is closed.

It keeps several streams open at once, each on a connection of its own, beside unary calls. Counters go into the tally,
complaints line by line to standard output. When the input is closed, streams are finished as they would be anyway.
"""

import asyncio
import sys
from pathlib import Path

import grpc.aio
from tests.soak.calls import make_call
from tests.soak.ledger import Tally
from tests.soak.pictures import Pictures, make_pictures
from tests.soak.plan import call_plan, drawing, stream_plan
from tests.soak.rests import rest
from tests.soak.streams import StreamRun

from nasfeat.v1 import feature_service_pb2, feature_service_pb2_grpc

STREAMS = 3
# A slow reader of the longest stream takes a third of that.
_FINISH_WITHIN_S = 60.0
# A connection for each channel, not one that all of the process share.
_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 2**26))


class Client:
    """The loops of one client.

    Args:
        address: the server's.
        tally: where it counts.
        seed: of everything it draws.
        stop: when set, nothing new is begun.
    """

    def __init__(self, *, address: str, tally: Tally, seed: str, stop: asyncio.Event) -> None:
        self._address = address
        self._tally = tally
        self._seed = seed
        self._stop = stop
        self._running: set[StreamRun] = set()

    async def run(self) -> None:
        """Work until told to stop, and finish what was begun; complain if that takes too long."""
        async with asyncio.TaskGroup() as tasks:
            working = tasks.create_task(self._work())
            stopping = tasks.create_task(self._stop.wait())
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            await asyncio.wait((working,), timeout=_FINISH_WITHIN_S)
            if not working.done():
                _complain([f"not finished within {_FINISH_WITHIN_S:g} s: {run!r}" for run in self._running])
                working.cancel()

    async def _work(self) -> None:
        async with self._channel() as channel:
            stub = feature_service_pb2_grpc.FeatureServiceStub(channel)
            reply = await stub.GetModel(feature_service_pb2.GetModelRequest())
            pictures = make_pictures(reply.model, drawing(self._seed, "pictures"))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._call(stub, pictures))
                for number in range(STREAMS):
                    tasks.create_task(self._stream(number, pictures))

    def _channel(self) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(self._address, options=_OPTIONS)

    async def _stream(self, lane: int, pictures: Pictures) -> None:
        draw = drawing(self._seed, f"stream {lane}")
        number = 0
        while not self._stop.is_set():
            number += 1
            async with self._channel() as channel:
                run = StreamRun(
                    name=f"client {self._seed} stream {lane}.{number}",
                    plan=stream_plan(draw),
                    draw=draw,
                    pictures=pictures,
                    tally=self._tally,
                    stop=self._stop,
                )
                self._running.add(run)
                _complain(await run.over(feature_service_pb2_grpc.FeatureServiceStub(channel)))
                self._running.discard(run)
            if run.refused:
                await asyncio.sleep(0.5)

    async def _call(self, stub: "feature_service_pb2_grpc.FeatureServiceAsyncStub", pictures: Pictures) -> None:
        draw = drawing(self._seed, "calls")
        number = 0
        while not self._stop.is_set():
            number += 1
            await rest()
            plan = call_plan(draw)
            name = f"client {self._seed} call {number}"
            _complain(await make_call(stub, name=name, plan=plan, draw=draw, pictures=pictures, tally=self._tally))
            await asyncio.sleep(plan.pause_s)


def _complain(complaints: list[str]) -> None:
    for complaint in complaints:
        print(complaint, flush=True)


async def _main(address: str, tally: str, seed: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def closed() -> None:
        loop.remove_reader(sys.stdin.fileno())
        stop.set()

    loop.add_reader(sys.stdin.fileno(), closed)
    await Client(address=address, tally=Tally.open(Path(tally)), seed=seed, stop=stop).run()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
