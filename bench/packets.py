"""A link between a client and the broker at the level of packets, with loss; it needs root.

    client | air0 --- [ queue, rate, loss, half a round trip ] --- air0 | gateway --- broker
    near namespace          a lane in each direction, a thread          far         where it was

Client and gateway speak the kernel's own TCP: what is lost is sent again, and costs what it costs
there. The gateway listens in the far namespace at the broker's port and passes on what has come to
the broker, which need not know. Counted are whole IP packets, with their headers.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Final, Self

from aiflow.bench.link import LinkSpec
from aiflow.bench.packets_gateway import Gateway
from aiflow.bench.packets_lane import PacketLane
from aiflow.bench.packets_space import MTU_BYTES, Space

# Of the block that is set aside for measuring networks (RFC 2544).
NEAR: Final = "198.18.0.1"
FAR: Final = "198.18.0.2"
_AT_ONCE: Final = 64
"""Packets taken from a device before others have their turn."""


class PacketLink:
    """Use it with `with`; start clients by `wrap`, and let them connect to `host` and `port`."""

    def __init__(self, host: str, port: int, spec: LinkSpec | None = None, seed: int = 0) -> None:
        """`host` and `port` are the broker's, as seen from here; `seed` is that of the loss."""
        self.spec = spec or LinkSpec()
        self.host = FAR
        self.port = port
        self.up = PacketLane.of(self.spec, f"{seed} up")
        self.down = PacketLane.of(self.spec, f"{seed} down")
        self._upstream = (host, port)
        self._spaces: tuple[Space, Space] | None = None
        self._resources = ExitStack()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._carriers: tuple[_Carrier, ...] = ()
        self._gateway: Gateway | None = None

    @property
    def up_bytes(self) -> int:
        """Bytes of IP packets that clients have sent, over all connections, repetitions too."""
        return self.up.total_bytes

    @property
    def down_bytes(self) -> int:
        """Bytes of IP packets that were sent to clients, over all connections."""
        return self.down.total_bytes

    @property
    def payload_bytes(self) -> tuple[int, int]:
        """Bytes inside TCP that have come from clients, and from the broker."""
        counted = self._gateway.payload_bytes if self._gateway else {"up": 0, "down": 0}
        return counted["up"], counted["down"]

    @property
    def connections(self) -> int:
        """How many connections clients have made so far."""
        return self._gateway.connections if self._gateway else 0

    @property
    def near(self) -> Space:
        """Where clients are. RuntimeError unless the link is open."""
        return self._open()[0]

    @property
    def far(self) -> Space:
        """Where the gateway is. RuntimeError unless the link is open."""
        return self._open()[1]

    def wrap(self, command: Sequence[str]) -> list[str]:
        """The command as one that runs at the near end of the link, and sees no other network."""
        return self.near.wrap(command)

    def start(self) -> None:
        """Put the link up. Raises AiflowError, with a sentence that says why it cannot be."""
        with ExitStack() as stack:
            near, far = stack.enter_context(Space(NEAR)), stack.enter_context(Space(FAR))
            listener = far.call(lambda: socket.create_server((FAR, self.port)))
            stack.enter_context(listener)
            started: Future[asyncio.Event] = Future()
            thread = threading.Thread(
                target=self._main, args=(near, far, listener, started), name="packets", daemon=True
            )
            thread.start()
            stack.callback(thread.join)
            ended = started.result()
            stack.callback(self._do, ended.set)
            self._spaces = near, far
            self._resources = stack.pop_all()

    def close(self) -> None:
        """Take it down; a process that is still at the near end has no network any more."""
        self._spaces = None
        self._resources.close()

    def cut(self) -> None:
        """Break the link as a radio out of range does: what is under way and what comes is lost."""
        for carrier in self._carriers:
            self._do(carrier.cut)

    def heal(self) -> None:
        """Undo `cut`; TCP goes on when its timers say so, which is later the longer it was cut."""
        for carrier in self._carriers:
            self._do(carrier.heal)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> tuple[Space, Space]:
        if self._spaces is None:
            raise RuntimeError("the link is not open")
        return self._spaces

    def _main(
        self, near: Space, far: Space, listener: socket.socket, started: Future[asyncio.Event]
    ) -> None:
        try:
            with asyncio.Runner(loop_factory=_precise_loop) as runner:
                runner.run(self._run(near, far, listener, started))
        finally:
            started.cancel()  # for one who still waits; no effect on a result

    async def _run(
        self, near: Space, far: Space, listener: socket.socket, started: Future[asyncio.Event]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        gateway = self._gateway = Gateway(self._upstream)
        await gateway.start(listener)
        self._carriers = (
            _Carrier(near.tun, far.tun, self.up),
            _Carrier(far.tun, near.tun, self.down),
        )
        started.set_result(ended)
        await ended.wait()
        for carrier in self._carriers:
            carrier.close()
        await gateway.close()

    def _do(self, action: Callable[[], object]) -> None:
        """Run `action` in the link's thread and wait until it is done."""
        done = threading.Event()

        def run() -> None:
            action()
            done.set()

        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(run)
            done.wait(timeout=5.0)


class _Carrier:
    """Takes packets from one device and hands them to the other when they are due."""

    def __init__(self, source: int, target: int, lane: PacketLane) -> None:
        self._source, self._target, self._lane = source, target, lane
        self._loop = asyncio.get_running_loop()
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._whole = True
        self._loop.add_reader(source, self._take)

    def cut(self) -> None:
        self._whole = False
        self._lane.cut(len(self._under_way))
        self._under_way.clear()
        self._set_timer()

    def heal(self) -> None:
        self._whole = True

    def close(self) -> None:
        self._loop.remove_reader(self._source)
        if self._timer is not None:
            self._timer.cancel()

    def _take(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                packet = os.read(self._source, MTU_BYTES)
            except BlockingIOError:
                return
            if packet[0] >> 4 != 4:
                continue  # IPv6 looks for neighbours; that belongs to no measurement
            if not self._whole:
                self._lane.cut_off += 1
                continue
            due = self._lane.arrival(len(packet), self._loop.time())
            if due is not None:
                self._under_way.append((due, packet))
                if self._timer is None:
                    self._set_timer()

    def _set_timer(self) -> None:
        """For the first packet under way; none if there is none."""
        if self._timer is not None:
            self._timer.cancel()
        first = self._under_way[0][0] if self._under_way else None
        self._timer = None if first is None else self._loop.call_at(first, self._hand_over)

    def _hand_over(self) -> None:
        while self._under_way and self._under_way[0][0] <= self._loop.time():
            _, packet = self._under_way.popleft()
            self._lane.held_bytes -= len(packet)
            try:
                os.write(self._target, packet)
            except BlockingIOError:
                self._lane.queue_drops += 1  # the kernel has no memory for it just now
        self._set_timer()


def _precise_loop() -> asyncio.AbstractEventLoop:
    """With select(2), whose time-outs are in microseconds; those of epoll are in milliseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())
