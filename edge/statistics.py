"""What a node says of itself: present values for Prometheus, and a message each minute."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from aiflow import __version__
from aiflow.common.exposition import Reading, Total
from aiflow.common.messages import EdgeStats
from aiflow.common.metrics import Counters
from aiflow.common.mqtt import Session
from aiflow.edge.ask_cloud import Escalations
from aiflow.edge.custody import Custody
from aiflow.edge.decode_queue import DecodeQueue
from aiflow.edge.decoder import Decoder
from aiflow.edge.publisher import Publisher
from aiflow.edge.streams import Streams


@dataclass(frozen=True, slots=True)
class Statistics:
    """Reads the parts of a node; any thread may."""

    counters: Counters
    session: Session
    streams: Streams
    custody: Custody
    queue: DecodeQueue
    decoder: Decoder
    publisher: Publisher
    escalations: Escalations

    def readings(self) -> Iterator[Reading]:
        """Present values, for Prometheus."""
        cloud = self.escalations.state()
        batches = self.counters.value("aiflow_batches_total")
        yield Reading("aiflow_connected", self.session.connected)
        yield Reading("aiflow_waiting", len(self.queue))
        yield Reading("aiflow_in_hand", self.custody.held)
        yield Reading("aiflow_streams", len(self.streams))
        yield Reading("aiflow_streams_usable", self.streams.usable)
        yield Reading("aiflow_escalations_pending", cloud.pending)
        yield Reading("aiflow_cloud_rest_seconds", cloud.rest_s)
        yield Reading("aiflow_delay_seconds", self.custody.delay_s.known())
        yield Reading("aiflow_decode_seconds", Total(batches, self.decoder.busy_s))
        for tier, latency in self.publisher.latency.items():
            yield Reading("aiflow_caption_latency_seconds", latency, {"tier": tier})

    def message(self, node: str, uptime_s: float) -> EdgeStats:
        """The same, as others read it by MQTT: what has no labels, by its name."""
        readings = (one for one in self.readings() if not one.labels)
        values = {one.name.removeprefix("aiflow_"): one.value for one in readings}
        return EdgeStats(
            node=node,
            timestamp=round(time.time(), 3),
            uptime_s=round(uptime_s, 3),
            software=__version__,
            counters=self.counters.snapshot(),
            values={
                name: round(value, 4)
                for name, value in values.items()
                if isinstance(value, int | float)
            },
        )

    def status(self) -> str:
        """For `systemctl status`."""
        broker = "connected" if self.session.connected else "no broker"
        return f"{broker}; {len(self.streams)} cameras; {len(self.queue)} frames wait"
