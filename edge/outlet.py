"""What the leaves of the edge node need of an MQTT session: to publish. A leaf: no code."""

from __future__ import annotations

from typing import Protocol

from aiflow.common.mqtt import OnAccepted


class Outlet(Protocol):
    """The publishing side of `aiflow.common.mqtt.Session`."""

    def publish(  # noqa: PLR0913 - the session's own signature
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 0,
        retain: bool = False,
        expiry_s: int | None = None,
        alias: bool = False,
        response_topic: str | None = None,
        correlation: bytes | None = None,
        on_accepted: OnAccepted | None = None,
    ) -> bool:
        """True: `on_accepted` is called once, perhaps before this returns. False: never."""
        ...
