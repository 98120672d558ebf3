"""A link between a client and the broker: counted, as slow and as far away as wanted.

    client --- port ---[ rate, half a round trip ]--- upstream     a lane in each direction

The relay works on the bytes inside TCP; IP and TCP headers are not counted. A lane is a serial
line (a token bucket of depth zero): a chunk leaves when the line is free, takes size / rate, and
arrives half a round trip later. Each time is computed from the chunk before, never from when a
sleep happened to end, so errors do not add up. A new connection costs one round trip before its
first byte, as TCP's handshake does. Nothing is lost or reordered: that is what TCP shows a client.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from aiflow.common.errors import ConfigError
from aiflow.rig.relay import Relay

_RATE: Final = re.compile(r"([0-9]*\.?[0-9]+)\s*([kKMG]?)(B/s|bit/s)")
_RTT: Final = re.compile(r"([0-9]*\.?[0-9]+)\s*(ms|s)")
_SCALE: Final = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """Rate of each direction in bytes/s (None: as fast as the machine) and round trip in s."""

    rate_bytes_s: float | None = None
    rtt_s: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `25KB/s,50ms` (RATE,RTT; RATE may be `unlimited`). Raises ConfigError."""
        rate_text, _, rtt_text = (part.strip() for part in text.partition(","))
        rate, rtt = _RATE.fullmatch(rate_text), _RTT.fullmatch(rtt_text)
        if rtt is None or (rate is None and rate_text != "unlimited"):
            raise ConfigError(f"link {text!r} is not RATE,RTT; write it like 25KB/s,50ms")
        rtt_s = float(rtt[1]) / (1e3 if rtt[2] == "ms" else 1.0)
        if rate is None:
            return cls(None, rtt_s)
        rate_bytes_s = float(rate[1]) * _SCALE[rate[2]] / (8.0 if rate[3] == "bit/s" else 1.0)
        if rate_bytes_s < 1.0:
            raise ConfigError(f"link {text!r} carries less than a byte a second; raise its rate")
        return cls(rate_bytes_s, rtt_s)

    def __str__(self) -> str:
        if self.rate_bytes_s is None:
            rate = "unlimited"
        elif self.rate_bytes_s >= 1e6:
            rate = f"{self.rate_bytes_s / 1e6:g}MB/s"
        else:
            rate = f"{self.rate_bytes_s / 1e3:g}KB/s"
        return f"{rate},{self.rtt_s * 1e3:g}ms"

    def transmission_s(self, size_bytes: int) -> float:
        """Seconds from the first byte's departure to the last one's arrival on an idle link."""
        serial_s = size_bytes / self.rate_bytes_s if self.rate_bytes_s else 0.0
        return serial_s + self.rtt_s / 2


class EmulatedLink:
    """A relay on a free loopback port, in a thread of its own; use it with `with`."""

    def __init__(self, host: str, port: int, spec: LinkSpec | None = None) -> None:
        """`host` and `port` are the broker's; `port` of the link is known once it has started."""
        self.spec = spec or LinkSpec()
        self.port = 0
        self._upstream = (host, port)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._relay: Relay | None = None
        self._ended: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    @property
    def up_bytes(self) -> int:
        """Bytes that clients have handed over for the broker, over all connections."""
        return self._relay.up.total_bytes if self._relay else 0

    @property
    def down_bytes(self) -> int:
        """Bytes that the broker has handed over for clients, over all connections."""
        return self._relay.down.total_bytes if self._relay else 0

    def start(self) -> None:
        """Begin to accept connections. Raises OSError when no port can be had."""
        started = threading.Event()
        faults: list[OSError] = []
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(started, faults)), name="link", daemon=True
        )
        self._thread.start()
        started.wait()
        if faults:
            self._thread.join()
            self._thread = None
            raise faults[0]

    def close(self) -> None:
        if self._thread is not None and self._ended is not None:
            self._do(self._ended.set)
            self._thread.join()
            self._thread = None

    def cut(self, *, reset: bool = False) -> None:
        """Break the link: silently (bytes stay where they are) or by resetting its connections.

        After a silent cut an end notices nothing until its own timeouts, as with a radio out of
        range; a new connection opens and then says nothing. With `reset`, open connections are
        aborted and new ones too, at once, as by a router that has lost its uplink.
        """
        if self._relay is not None:
            relay = self._relay
            self._do(lambda: relay.cut(reset=reset))

    def heal(self) -> None:
        """Undo `cut`: what was under way goes on from where it was."""
        if self._relay is not None:
            self._do(self._relay.heal)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _run(self, started: threading.Event, faults: list[OSError]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        relay = Relay(self._upstream, self.spec.rate_bytes_s, self.spec.rtt_s)
        try:
            self.port = await relay.start()
        except OSError as error:
            faults.append(error)
            started.set()
            return
        self._relay = relay
        started.set()
        await self._ended.wait()
        await relay.close()

    def _do(self, action: Callable[[], None]) -> None:
        """Run `action` in the relay's thread and wait until it is done."""
        done = threading.Event()

        def run() -> None:
            action()
            done.set()

        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(run)
            done.wait(timeout=5.0)
