"""`aiflow homeassistant remove`: clears what a device has retained for Home Assistant."""

from __future__ import annotations

import queue
import secrets
from pathlib import Path
from typing import Final

from aiflow.cli.logs import Level, configure
from aiflow.common.config import load
from aiflow.common.errors import BrokerError, BrokerRefused, BrokerUnreachable
from aiflow.common.mqtt import Outgoing, Reason, Session
from aiflow.device.config import DeviceConfig
from aiflow.device.entities import discovery_id, discovery_topic

PATIENCE_S: Final = 5.0


def remove(path: Path) -> None:
    """Publish the empty message that removes the device. Raises AiflowError."""
    configure(Level.ERROR)  # why it cannot connect is told by the error itself
    config = load(DeviceConfig, path)
    topic = discovery_topic(
        config.home_assistant.prefix, discovery_id(config.broker.prefix, config.device)
    )
    session = Session(config.broker, f"aiflow-homeassistant-{secrets.token_hex(4)}")
    session.start()
    try:
        session.wait_connected(PATIENCE_S)
        _clear(session, topic)
    finally:
        session.close()
    print(f"cleared {topic}")


def _clear(session: Session, topic: str) -> None:
    """Until the broker has accepted it. Raises BrokerError."""
    answers: queue.Queue[Reason | None] = queue.Queue()
    if not session.publish(Outgoing(topic, b"", qos=1, retain=True, on_accepted=answers.put)):
        raise BrokerError(f"the connection ended before {topic} was cleared; try again")
    try:
        reason = answers.get(timeout=PATIENCE_S)
    except queue.Empty:
        reason = None
    if reason is None:
        raise BrokerUnreachable(f"the broker did not say that it cleared {topic}; try again")
    if reason.refused:
        raise BrokerRefused(f"the broker does not let this client write {topic}: {reason}")
