"""What one camera says on MQTT: status, state, descriptor, and refinements that were asked for."""

from __future__ import annotations

from aiflow.common.metrics import Counters
from aiflow.common.mqtt import PUBACK_BYTES, OnAccepted, Outgoing, Session, publish_size
from aiflow.common.topics import Topics
from aiflow.common.wire import Kind, kind_of


class CameraTopics:
    """Publishes for one camera; any thread may call."""

    def __init__(
        self,
        session: Session,
        topics: Topics,
        device: str,
        camera: str,
        *,
        counters: Counters,
        expiry_s: int,
        allow_images: bool,
    ) -> None:
        self._session = session
        self._counters = counters
        self._status = topics.status(device, camera)
        self._enabled = topics.enabled_state(device, camera)
        self._descriptor = topics.descriptor(device, camera)
        self._embedding = topics.embedding(device, camera)
        self._image = topics.image(device, camera)
        self._snapshot = topics.snapshot(device, camera)
        self._allow_images = allow_images
        self._expiry_s = expiry_s

    def status(self, status: str) -> None:
        self._session.announce(self._status, status.encode())

    def enabled(self, *, on: bool) -> None:
        self._session.announce(self._enabled, b"ON" if on else b"OFF")

    def descriptor(self, descriptor: bytes) -> None:
        self._session.announce(self._descriptor, descriptor)

    def embedding(
        self, payload: bytes, *, ask_broker: bool = False, on_accepted: OnAccepted | None = None
    ) -> int:
        """Publish one payload; the bytes that it costs, 0 if the session takes no more now.

        With `ask_broker` it goes with QoS 1, so that a broker that refuses it says so, and may
        wait at the broker until it expires; with `on_accepted` it goes with QoS 1 as well, for the
        sake of the answer; else with QoS 0. Counted are the PUBLISH, its topic replaced by the
        alias, and the PUBACK. A picture has a topic of its own, for brokers to bar.
        """
        kind = Kind(kind_of(payload))
        if kind is Kind.IMAGE:
            self._require_images()
        qos = 1 if ask_broker or on_accepted is not None else 0
        if not self._session.publish(
            Outgoing(
                self._image if kind is Kind.IMAGE else self._embedding,
                payload,
                qos=qos,
                alias=True,
                expiry_s=self._expiry_s if ask_broker else None,
                on_accepted=on_accepted,
            )
        ):
            return 0
        self._count(kind, payload)
        size = publish_size(0, len(payload), qos=qos, alias=True, expiry=ask_broker)
        return size + (PUBACK_BYTES if qos else 0)

    def snapshot(self, jpeg: bytes, on_accepted: OnAccepted) -> int:
        """Publish a picture for people to see; the bytes that it costs, 0 if it cannot leave now.

        With QoS 1, for the broker to say when it refuses it, and not retained: it is to lie
        nowhere. Counted like the pictures of mode image.
        """
        self._require_images()
        expiry_s = self._expiry_s
        if not self._session.publish(
            Outgoing(self._snapshot, jpeg, qos=1, expiry_s=expiry_s, on_accepted=on_accepted)
        ):
            return 0
        self._count(Kind.IMAGE, jpeg)
        size = publish_size(len(self._snapshot.encode()), len(jpeg), qos=1, expiry=True)
        return size + PUBACK_BYTES

    def _require_images(self) -> None:
        """No picture is sent unless `allow_images`, however it came here: that would be a bug."""
        if not self._allow_images:
            raise RuntimeError("a picture was to leave a device that does not allow images")

    def _count(self, kind: Kind, payload: bytes) -> None:
        self._counters.add("aiflow_published_total", kind=kind.name.lower())
        self._counters.add("aiflow_published_bytes_total", len(payload), kind=kind.name.lower())
