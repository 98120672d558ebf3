"""The edge node: its parts, and how they hang together. Nothing is decided here.

network thread   payloads -> receiver -> queue; replies -> escalations; acks -> custody
decode thread    queue -> decoder -> captions
timers thread    ledger, receipts, leases, statistics
"""

from __future__ import annotations

import time
from typing import Final, Self

from aiflow.common.mqtt import Outgoing, Properties, Session, Will
from aiflow.edge.ask_cloud import Escalations, Pool
from aiflow.edge.ask_device import DeviceRequests
from aiflow.edge.assets import Assets
from aiflow.edge.config import EdgeConfig
from aiflow.edge.custody import Custody
from aiflow.edge.decode_queue import DecodeQueue
from aiflow.edge.decoder import Decoder
from aiflow.edge.publisher import Publisher
from aiflow.edge.received import LocalCaption
from aiflow.edge.receiver import ReceiveLimits, Receiver
from aiflow.edge.statistics import Statistics
from aiflow.edge.timers import Timers

CLOSE_S: Final = 2.0
"""How long a closing node waits for its decoder, and for the broker's last acks."""
MAX_QUEUED: Final = 1024


class EdgeNode:
    """One edge node, from `start` to `close`; used with `with`."""

    def __init__(self, config: EdgeConfig, assets: Assets) -> None:
        """Raises ConfigError when a password, certificate or key cannot be used."""
        self._config, self._topics = config, config.topics
        topics, prefix, node = config.topics, config.broker.prefix, config.node
        will = Will(topics.edge_available(node), b"offline")
        self.session = session = Session(
            config.broker, f"{prefix}-edge-{node}", will=will, max_queued=MAX_QUEUED
        )
        self.counters = counters = session.counters
        self._timers = timers = Timers(counters)
        self._custody = custody = Custody(
            assets.ledger,
            session.publish,
            topics,
            timers,
            counters,
            receipt_every_s=config.receipt_every_s,
        )
        newest, triggers = assets.ledger.newest(), assets.triggers
        self._publisher = publisher = Publisher(
            session.publish, topics, custody, newest, counters, triggers
        )
        pool = Pool(
            topics.cloud_request(config.pool), topics.edge_reply(node), config.cloud_deadline_s
        )
        self._escalations = cloud = Escalations(session.publish, pool, timers, counters)
        requests = DeviceRequests(session.publish, topics, counters)
        decoder = Decoder(assets.model, publisher, cloud, requests, custody, counters)
        most, size = config.max_waiting, config.batch_max
        self._queue = queue = DecodeQueue(
            decoder.caption, custody, counters, max_waiting=most, batch_max=size
        )
        limits, ask = ReceiveLimits(config.max_streams, config.late_after_s), requests.key_frame
        self._receiver = receiver = Receiver(
            topics, assets.codings, assets.device_keys, custody, ask, counters, limits
        )
        self.statistics = Statistics(
            counters, session, receiver.streams, custody, queue, decoder, publisher, cloud
        )
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Begin to work; the broker need not be there yet."""
        session, topics, node = self.session, self._topics, self._config.node
        # Descriptors first: a payload whose descriptor is not known yet is dropped.
        session.subscribe(topics.any_descriptor, 1, self._receiver.descriptor)
        session.subscribe(topics.edge_reply(node), 1, self._on_reply)
        session.subscribe(topics.any_embedding, 1, self._on_frame)
        session.subscribe(topics.any_image, 1, self._on_frame)
        # After the subscriptions: it makes devices send what was not receipted.
        session.announce(topics.edge_available(node), b"online")
        self._queue.loop.start()
        self._timers.loop.start()
        self._timers.after(self._config.stats_every_s, self._tick)
        session.start()

    def close(self) -> None:
        """Finish the batch in hand, settle what was published, and leave.

        Frames still waiting are left to their devices, which send them again.
        """
        self._queue.close(CLOSE_S)
        self._custody.wait_empty(CLOSE_S)
        self._custody.close()
        self._timers.close()
        self._timers.loop.join(CLOSE_S)
        self._publish_statistics()
        self.session.announce(self._topics.edge_available(self._config.node), b"offline")
        self.session.close()

    # What the watchdog asks.

    def ask(self) -> None:
        """Want a sign of life from each thread that has work."""
        self._queue.loop.ask()
        self._timers.loop.ask()

    def silent(self) -> list[str]:
        """Which threads have not come around since, have ended, or are stuck."""
        silent = [loop.name for loop in (self._queue.loop, self._timers.loop) if loop.silent]
        return [*silent, "network"] if self.session.stuck else silent

    def status(self) -> str:
        """For `systemctl status`."""
        return self.statistics.status()

    # Handlers of the session, on the network thread.

    def _on_frame(self, topic: str, payload: bytes, properties: Properties) -> None:
        frame = self._receiver.frame(topic, payload, properties)
        if isinstance(frame, LocalCaption):
            self._publisher.pass_on(frame)
        elif frame is not None:
            self._queue.put(frame)

    def _on_reply(self, _topic: str, payload: bytes, properties: Properties) -> None:
        update = self._escalations.reply(payload, properties.correlation)
        if update is not None:
            self._publisher.publish(*update)

    # On the timers thread.

    def _tick(self) -> None:
        self._timers.after(self._config.stats_every_s, self._tick)
        self._publish_statistics()

    def _publish_statistics(self) -> None:
        stats = self.statistics.message(self._config.node, time.monotonic() - self._began)
        self.session.publish(Outgoing(self._topics.edge_stats(self._config.node), stats.to_json()))
