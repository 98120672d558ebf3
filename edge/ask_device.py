"""Asking devices: for the layers of a frame that were not sent at once, and for key frames.

ask -> order on the camera's `refine` topic -> the layers come as a payload of the same frame
`- never, as the device has forgotten the frame or its budget is used up
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from aiflow.common.mean import Mean
from aiflow.common.metrics import Counters
from aiflow.common.mqtt import PUBACK_BYTES, Outgoing, Publish, publish_size
from aiflow.common.topics import Topics
from aiflow.common.wire import KeyFrameOrder, RefineOrder, pack_refine_order
from aiflow.edge.policy import DeviceState
from aiflow.edge.received import EmbeddingFrame, FrameKey, StreamKey

EXPIRY_S: Final = 10
MAX_ASKED: Final = 256
"""Most frames remembered as asked for."""


class DeviceRequests:
    """What was requested lately, and what it costs; the decode thread's, but for `key_frame`."""

    def __init__(
        self,
        publish: Publish,
        topics: Topics,
        counters: Counters,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._publish = publish
        self._topics = topics
        self._counters = counters
        self._clock = clock
        self._minute: deque[float] = deque()
        self._asked: OrderedDict[FrameKey, tuple[float, int]] = OrderedDict()
        known = DeviceState(0)
        self._bytes, self._seconds = Mean(known.bytes), Mean(known.seconds)

    def state(self, frame: EmbeddingFrame) -> DeviceState:
        """What the policy should know of a frame's device at this moment."""
        now = self._clock()
        while self._minute and self._minute[0] <= now - 60.0:
            self._minute.popleft()
        layers = self._here(frame)
        # A picture has been encoded here whole; one that was late is no news to anybody.
        wanted = not (frame.refined or frame.pictured or frame.late or frame.key in self._asked)
        missing = len(frame.coding.tables.layers) - layers if wanted else 0
        return DeviceState(
            layers, missing, len(self._minute), self._bytes.known(), self._seconds.known()
        )

    def ask(self, frame: EmbeddingFrame) -> bool:
        """Order all layers that are not here; False if the broker is away or its queue is full."""
        device, camera, _ = frame.key.stream
        layers = self._here(frame)
        order = pack_refine_order(
            RefineOrder(frame.key.sequence, layers, len(frame.coding.tables.layers) - layers)
        )
        topic = self._topics.refine(device, camera)
        if not self._publish(Outgoing(topic, order, qos=1, expiry_s=EXPIRY_S)):
            return False
        size = publish_size(len(topic.encode()), len(order), qos=1, expiry=True) + PUBACK_BYTES
        now = self._clock()
        self._minute.append(now)
        self._asked[frame.key] = (now, size)
        if len(self._asked) > MAX_ASKED:
            self._asked.popitem(last=False)
        return True

    def key_frame(self, stream: StreamKey) -> None:
        """Request one of a stream whose deltas cannot be read; any thread may."""
        self._counters.add("aiflow_key_frames_asked_total")
        topic = self._topics.refine(stream.device, stream.camera)
        order = pack_refine_order(KeyFrameOrder())
        self._publish(Outgoing(topic, order, qos=1, expiry_s=EXPIRY_S))

    def came(self, frame: EmbeddingFrame) -> None:
        """More layers of a frame are here: learn what they cost."""
        asked_at, size = self._asked.pop(frame.key, (None, 0))
        if asked_at is not None:
            self._seconds.add(self._clock() - asked_at)
            self._bytes.add(size + frame.uplink_bytes)

    def _here(self, frame: EmbeddingFrame) -> int:
        """How many layers of a frame are at hand."""
        return sum(tokens <= len(frame.decoded.symbols) for tokens in frame.coding.tables.layers)
