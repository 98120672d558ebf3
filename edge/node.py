"""The edge node: wires its leaves to one MQTT session, and has the only threads.

network thread   payloads -> receiver -> queue; replies -> escalations; acks -> custody
decode thread    queue -> decoder -> captions
timers thread    ledger, receipts, leases, statistics
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import Final, Self

from aiflow import __version__
from aiflow.common.bundle import BundleCoding
from aiflow.common.captioner import WritesCaptions
from aiflow.common.errors import AiflowError, PayloadError
from aiflow.common.exposition import Reading, Total
from aiflow.common.messages import CloudReply, EdgeStats
from aiflow.common.metrics import Counters
from aiflow.common.mqtt import Handler, Properties, Session, Will
from aiflow.common.topics import Topics
from aiflow.common.watchdog import Pulse
from aiflow.common.wire import KeyFrameOrder, pack_refine_order
from aiflow.edge.ask_cloud import Escalations, Pool, Question
from aiflow.edge.ask_device import DeviceQuestions
from aiflow.edge.config import EdgeConfig, read_key
from aiflow.edge.custody import Custody
from aiflow.edge.decode_queue import Waiting, batcher
from aiflow.edge.decoder import Decoder, cloud_answer, local_answer
from aiflow.edge.examples import read_examples
from aiflow.edge.image_encoder import ImageEncoder
from aiflow.edge.ledger import Ledger
from aiflow.edge.policy import Judgement
from aiflow.edge.publisher import Publisher
from aiflow.edge.received import EmbeddingFrame, LocalCaption, PictureFrame, StreamKey
from aiflow.edge.receiver import Receiver
from aiflow.edge.streams import Streams
from aiflow.edge.timers import Timers
from aiflow.edge.triggers import Triggers

log = logging.getLogger(__name__)

CLOSE_S: Final = 2.0
"""How long a closing node waits for its decoder, and for the broker's last acks."""
MAX_QUEUED: Final = 1024
ORDER_EXPIRY_S: Final = 10


class EdgeNode:
    """One edge node, from `start` to `close`; used with `with`."""

    def __init__(
        self,
        config: EdgeConfig,
        coding: BundleCoding,
        judgement: Judgement,
        captions: WritesCaptions,
        image_encoder: ImageEncoder,
        ledger: Ledger,
    ) -> None:
        """Raises ConfigError when the file of a key, certificate or example cannot be used."""
        self._config = config
        self._image_encoder = image_encoder
        self._topics = topics = Topics(config.broker.prefix)
        self._began = time.monotonic()
        self.counters = counters = Counters()
        self._timers = Timers()
        self._waiting = batcher(config.max_waiting)
        self._session = session = Session(
            config.broker,
            f"{config.broker.prefix}-edge-{config.node}",
            will=Will(topics.edge_available(config.node), b"offline"),
            max_queued=MAX_QUEUED,
            counters=counters,
        )
        self._custody = custody = Custody(
            ledger,
            self._send_receipt,
            self._timers,
            counters,
            receipt_every_s=config.receipt_every_s,
            delay_s=lambda: self._decoder.delay_s,
        )
        keys = {device: read_key(device, path) for device, path in config.device_keys.items()}
        self._streams = Streams(coding.bundle_id, keys, max_streams=config.max_streams)
        self._receiver = Receiver(
            topics,
            coding,
            self._streams,
            custody,
            self,
            counters,
            late_after_s=config.late_after_s,
        )
        self._publisher = Publisher(
            session,
            topics,
            coding.bundle_id,
            custody,
            ledger.newest(),
            counters,
            Triggers(config.trigger, examples=read_examples(config, coding.bundle_id)),
        )
        pool = Pool(
            topics.cloud_request(config.pool),
            topics.edge_reply(config.node),
            config.cloud_deadline_s,
        )
        self._escalations = Escalations(
            session,
            pool,
            coding.tables,
            self._timers,
            self._answered,
            counters,
        )
        self._decoder = Decoder(
            captions,
            judgement,
            self._publisher,
            self._escalations,
            DeviceQuestions(session, topics, coding.tables.layers),
            counters,
        )
        self._decoding = Pulse()
        self._timing = Pulse()
        self._threads = [
            threading.Thread(target=self._decode, name="decode", daemon=True),
            threading.Thread(target=self._run_timers, name="timers", daemon=True),
        ]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Begin to work; the broker need not be there yet."""
        session, topics, node = self._session, self._topics, self._config.node
        # Descriptors first: a payload whose descriptor is not known yet is dropped.
        session.subscribe(topics.any_descriptor, 1, self._on_descriptor)
        session.subscribe(topics.edge_reply(node), 1, self._on_reply)
        session.subscribe(topics.any_embedding, 1, self._on_embedding)
        session.subscribe(topics.any_image, 1, self._on_embedding)
        # After the subscriptions: it makes devices send what was not receipted.
        session.announce(topics.edge_available(node), b"online")
        for thread in self._threads:
            thread.start()
        self._timers.after(self._config.stats_every_s, self._tick)
        session.start()

    def close(self) -> None:
        """Finish the batch in hand, settle what was published, and leave.

        Frames still waiting are left to their devices, which send them again.
        """
        for frame in self._waiting.close():
            self._custody.release(frame.key)
        self._threads[0].join(CLOSE_S)
        self._custody.wait_empty(CLOSE_S)
        self._custody.close()
        self._timers.close()
        self._threads[1].join(CLOSE_S)
        self._publish_stats()
        self._session.announce(self._topics.edge_available(self._config.node), b"offline")
        self._session.close()

    # What the dashboard needs.

    @property
    def connected(self) -> bool:
        """Whether there is a broker at present."""
        return self._session.connected

    def listen(self, topic_filter: str, qos: int, handler: Handler) -> None:
        """Have `handler` hear, on the network thread, what comes there beside our own work."""
        self._session.subscribe(topic_filter, qos, handler)

    # What the watchdog asks.

    def ask(self) -> None:
        """Want the decoder to come around, if work waits, and the timers in any case."""
        self._decoding.ask()
        self._timing.ask()
        self._timers.after(0.0, self._timing.beat)

    def silent(self) -> list[str]:
        """Which threads have not come around since, have ended, or are stuck."""
        pulses = (self._decoding, self._timing)
        silent = [
            thread.name
            for thread, pulse in zip(self._threads, pulses, strict=True)
            if pulse.silent or not thread.is_alive()
        ]
        return [*silent, "network"] if self._session.stuck else silent

    def status(self) -> str:
        """For `systemctl status`."""
        broker = "connected" if self._session.connected else "no broker"
        return f"{broker}; {len(self._streams)} cameras; {len(self._waiting)} frames wait"

    # What the receiver hands on, on the network thread.

    def embedding(self, frame: EmbeddingFrame) -> None:
        self._wait(frame)

    def picture(self, frame: PictureFrame) -> None:
        self._wait(frame)

    def _wait(self, frame: Waiting) -> None:
        dropped = self._waiting.put(frame)
        if dropped is not None:
            reason = "closing" if dropped is frame else "queue_full"
            self.counters.add("aiflow_dropped_total", reason=reason)
            self._custody.release(dropped.key)

    def local_caption(self, frame: LocalCaption) -> None:
        self._publisher.publish(frame, local_answer(frame))

    def key_frames_wanted(self, stream: StreamKey) -> None:
        self.counters.add("aiflow_key_frames_asked_total")
        self._session.publish(
            self._topics.refine(stream.device, stream.camera),
            pack_refine_order(KeyFrameOrder()),
            qos=1,
            expiry_s=ORDER_EXPIRY_S,
        )

    # Handlers of the session, on the network thread.

    def _on_descriptor(self, topic: str, payload: bytes, _properties: Properties) -> None:
        self._receiver.descriptor(topic, payload)

    def _on_embedding(self, topic: str, payload: bytes, properties: Properties) -> None:
        self._receiver.embedding(topic, payload, properties)

    def _on_reply(self, _topic: str, payload: bytes, properties: Properties) -> None:
        self._escalations.reply(payload, properties.correlation)

    def _answered(self, question: Question, reply: CloudReply) -> None:
        self._publisher.publish(question.frame, cloud_answer(question, reply))

    # The other threads.

    def _decode(self) -> None:
        while batch := self._taken():
            if not self._guarded("decode", partial(self._caption, batch)):
                for frame in batch:
                    self._custody.release(frame.key)

    def _caption(self, batch: Sequence[Waiting]) -> None:
        self._decoder.caption([frame for one in batch if (frame := self._seen(one)) is not None])

    def _seen(self, frame: Waiting) -> EmbeddingFrame | None:
        """A picture as the embedding that it stands for; None if it is none."""
        if isinstance(frame, EmbeddingFrame):
            return frame
        try:
            return self._image_encoder.encode(frame)
        except PayloadError as error:
            # Genuine, but nonsense: it would be no better the next time.
            self._receiver.fault(frame, error)
            self._custody.captioned(frame.key)
            return None

    def _taken(self) -> list[Waiting]:
        self._decoding.rest()
        batch = self._waiting.take(self._config.batch_max)
        self._decoding.work()
        return batch

    def _run_timers(self) -> None:
        while (action := self._timers.wait()) is not None:
            self._guarded("timers", action)

    def _guarded(self, where: str, work: Callable[[], None]) -> bool:
        """The outermost loop of a thread: a fault costs this piece of work, not the node."""
        try:
            work()
        except AiflowError as error:
            log.error("%s: %s", where, error)  # noqa: TRY400 - an expected fault, no traceback
        except Exception:
            log.exception("%s: a fault of ours", where)
        else:
            return True
        self.counters.add("aiflow_faults_total", where=where)
        return False

    def _send_receipt(self, stream: StreamKey, receipt: bytes) -> bool:
        return self._session.publish(self._topics.receipt(stream.device, stream.camera), receipt)

    def readings(self) -> Iterator[Reading]:
        """Present values, for Prometheus."""
        cloud, decoder = self._escalations.state(), self._decoder
        batches = self.counters.value("aiflow_batches_total")
        yield Reading("aiflow_connected", self._session.connected)
        yield Reading("aiflow_waiting", len(self._waiting))
        yield Reading("aiflow_in_hand", self._custody.held)
        yield Reading("aiflow_streams", len(self._streams))
        yield Reading("aiflow_streams_usable", self._streams.usable)
        yield Reading("aiflow_escalations_pending", cloud.pending)
        yield Reading("aiflow_cloud_rest_seconds", cloud.rest_s)
        yield Reading("aiflow_decode_seconds", Total(batches, decoder.busy_s))
        for tier, latency in self._publisher.latency.items():
            yield Reading("aiflow_caption_latency_seconds", latency, {"tier": tier})

    def _tick(self) -> None:
        self._timers.after(self._config.stats_every_s, self._tick)
        self._publish_stats()

    def _publish_stats(self) -> None:
        cloud = self._escalations.state()
        stats = EdgeStats(
            node=self._config.node,
            timestamp=round(time.time(), 3),
            uptime_s=round(time.monotonic() - self._began, 3),
            software=__version__,
            counters=self.counters.snapshot(),
            values={
                "waiting": len(self._waiting),
                "in_hand": self._custody.held,
                "streams": len(self._streams),
                "streams_usable": self._streams.usable,
                "escalations_pending": cloud.pending,
                "cloud_rest_s": round(cloud.rest_s, 3),
                "decode_s": round(self._decoder.busy_s, 3),
                "delay_s": round(self._decoder.delay_s, 4),
            },
        )
        self._session.publish(self._topics.edge_stats(self._config.node), stats.to_json())
