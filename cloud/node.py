"""The cloud worker: one MQTT session, one queue, one loop.

network thread   requests -> queue; a full queue is answered "busy" at once
worker thread    queue -> worker -> replies
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Final, Self

from aiflow.cloud.config import CloudConfig
from aiflow.cloud.worker import Job, Worker
from aiflow.common.batches import Batches
from aiflow.common.bundle import BundleCoding
from aiflow.common.captioner import WritesCaptions
from aiflow.common.exposition import Reading, Total
from aiflow.common.messages import CloudReply
from aiflow.common.metrics import Counters, Faults
from aiflow.common.mqtt import Outgoing, Properties, Session
from aiflow.common.topics import Topics
from aiflow.common.work_loop import WorkLoop

log = logging.getLogger(__name__)

CLOSE_S: Final = 2.0
"""How long a closing worker waits for the batch in hand."""
REPLY_EXPIRY_S: Final = 60
"""The longest that any edge node waits (`cloud_deadline_s`)."""


class CloudNode:
    """One cloud worker, from `start` to `close`; used with `with`."""

    def __init__(
        self, config: CloudConfig, codings: Sequence[BundleCoding], captions: WritesCaptions
    ) -> None:
        """Raises ConfigError when a certificate or password file cannot be used."""
        self._config = config
        self._topics = Topics(config.broker.prefix)
        self.counters = Counters()
        self._faults = Faults(self.counters, "aiflow_request_errors_total", log)
        self._worker = Worker(captions, codings, config.worker, self.counters)
        self._jobs: Batches[Job] = Batches(config.max_waiting, victim=_newcomer)
        self._session = Session(
            config.broker,
            f"{config.broker.prefix}-cloud-{config.pool}-{config.worker}",
            counters=self.counters,
        )
        self._loop = WorkLoop(
            "worker", lambda: self._jobs.take(config.batch_max), self._answer, self.counters
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Begin to work; the broker need not be there yet."""
        shared = self._topics.shared_cloud_request(self._config.pool)
        self._session.subscribe(shared, 1, self._on_request)
        self._loop.start()
        self._session.start()

    def close(self) -> None:
        """Answer the batch in hand, refuse what waits so that its asker asks elsewhere, leave."""
        for job in self._jobs.close():
            self._refuse(job, "closing")
        self._loop.join(CLOSE_S)
        self._session.close()

    def ask(self) -> None:
        """Want the worker to come around, if work waits."""
        self._loop.ask()

    def silent(self) -> list[str]:
        """Which threads have not come around since, have ended, or are stuck."""
        silent = [self._loop.name] if self._loop.silent else []
        return [*silent, "network"] if self._session.stuck else silent

    def status(self) -> str:
        """For `systemctl status`."""
        broker = "connected" if self._session.connected else "no broker"
        answered = self.counters.value("aiflow_answered_total")
        return f"{broker}; {len(self._jobs)} requests wait; {answered} answered"

    def readings(self) -> Iterator[Reading]:
        """Present values, for Prometheus."""
        batches = self.counters.value("aiflow_batches_total")
        yield Reading("aiflow_connected", self._session.connected)
        yield Reading("aiflow_waiting", len(self._jobs))
        yield Reading("aiflow_decode_seconds", Total(batches, self._worker.busy_s))

    def _on_request(self, _topic: str, payload: bytes, properties: Properties) -> None:
        self.counters.add("aiflow_requests_total")
        reply_topic = properties.response_topic
        # Replies go to edge nodes only: a request must not make us publish just anywhere.
        if reply_topic is None or self._topics.parse_edge(reply_topic) is None:
            self._faults.record("reply_topic", f"a request wants its reply at {reply_topic!r}")
            return
        job = Job(payload, time.monotonic(), reply_topic, properties.correlation)
        refused = self._jobs.put(job)
        if refused is not None:
            self._refuse(refused, "busy")

    def _answer(self, jobs: Sequence[Job]) -> None:
        for job, reply in zip(jobs, self._worker.answer(jobs), strict=True):
            self._send(job, reply)

    def _refuse(self, job: Job, why: str) -> None:
        waited_s = time.monotonic() - job.received_at
        self._send(job, self._worker.refusal(why, "ask another worker", waited_s))

    def _send(self, job: Job, reply: CloudReply) -> None:
        self._session.publish(
            Outgoing(
                job.reply_topic,
                reply.to_json(),
                qos=1,
                expiry_s=REPLY_EXPIRY_S,
                correlation=job.correlation,
            )
        )


def _newcomer(_waiting: Sequence[Job], _job: Job) -> None:
    """A full queue refuses what comes: those who wait have waited longer already."""
