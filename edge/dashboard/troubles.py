"""What an operator should look at: states that are not as they should be, and faults counted. Pure.

Daemons count their faults since their start and tell it each minute; what has grown since the last
time is news, and stays in the list for an hour.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Final, Literal

from aiflow.common.catalogue import CATALOGUE
from aiflow.edge.dashboard.places import Places

MAX_NEWS: Final = 50
MAX_SOURCES: Final = 256
KEPT_S: Final = 3600.0
WAITING: Final = 64
"""More frames than that in an outbox are more than a device has on the way at one time."""
_MAX_SERIES: Final = 64
_MAX_DETAIL: Final = 48

Level = Literal["alarm", "notice"]

ALARMS: Final = {name: metric.alarm for name, metric in CATALOGUE.items() if metric.alarm}
"""What a counter of faults means to a person; other counters are no faults."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One line of the list. `at`: wall-clock seconds, None for what is so at present."""

    level: Level
    where: str
    what: str
    at: float | None = None


class Troubles:
    """Remembers the counters of each daemon, and what has grown."""

    def __init__(self) -> None:
        self._counters: dict[str, dict[str, int]] = {}
        self._news: deque[Trouble] = deque(maxlen=MAX_NEWS)

    def counted(self, where: str, counters: Mapping[str, int], at: float) -> None:
        """Take the counters of one daemon. Its first message only says where they stand."""
        faults = {name: n for name, n in counters.items() if name.partition("{")[0] in ALARMS}
        faults = dict(list(faults.items())[:_MAX_SERIES])
        before = self._counters.get(where)
        if before is None:
            if len(self._counters) < MAX_SOURCES:
                self._counters[where] = faults
            return
        restarted = any(faults.get(name, 0) < n for name, n in before.items())
        for name, count in faults.items():
            grown = count - (0 if restarted else before.get(name, 0))
            if grown > 0:
                self._news.append(Trouble("alarm", where, _sentence(name, grown), at))
        self._counters[where] = faults

    def to_json(self, places: Places, at: float, *, connected: bool) -> list[dict[str, object]]:
        """What is so at present, then the news of the last hour, newest first."""
        present = list(_present(places)) if connected else [_no_broker()]
        news = [one for one in reversed(self._news) if one.at is not None and at - one.at < KEPT_S]
        return [asdict(one) for one in [*present, *news]]


def _no_broker() -> Trouble:
    return Trouble("alarm", "broker", "no connection; what is shown may be out of date")


def _present(places: Places) -> Iterator[Trouble]:
    for name, node in sorted(places.nodes.items()):
        if node.state == "offline":
            yield Trouble("alarm", name, "edge node offline")
        elif node.cloud_rest_s > 0:
            yield Trouble("notice", name, "the cloud does not answer; captions stay the edge's")
    for name, device in sorted(places.devices.items()):
        if device.state == "offline":
            yield Trouble("alarm", name, "device offline")
        elif (device.waiting or 0) > WAITING:
            yield Trouble("notice", name, f"{device.waiting:,} frames wait in its outbox")
    for (device_name, name), camera in sorted(places.cameras.items()):
        owner = places.devices.get(device_name)
        if camera.state == "offline" and (owner is None or owner.state != "offline"):
            yield Trouble("alarm", f"{device_name}/{name}", "camera offline")


def _sentence(series: str, grown: int) -> str:
    """`payloads were refused (mac), 3 times`."""
    name, _, labels = series.partition("{")
    values = [part.partition("=")[2].strip('"}') for part in labels.split(",") if part]
    detail = f" ({', '.join(values)})"[:_MAX_DETAIL] if values else ""
    times = "once" if grown == 1 else f"{grown:,} times"
    return f"{ALARMS[name]}{detail}, {times}"
