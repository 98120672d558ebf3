from __future__ import annotations

from aiflow.bench.qos import Manner, manners, measure
from aiflow.edge.config import EdgeConfig


def test_first_is_what_is_shipped() -> None:
    first, *others = manners(EdgeConfig().receipt_every_s)
    assert first == Manner(0, None, alias=True, receipt_every_s=2.0)
    assert first.frames_per_receipt == 4
    assert len({first, *others}) == 13


def test_what_mqtt_adds_is_the_sum_of_its_parts() -> None:
    """Fixed header 2, topic length 2, property length 1, alias 3; and a receipt of 38 bytes."""
    found = measure(Manner(0, None, alias=True, receipt_every_s=1.0), frames=6)
    assert (found.up, found.down, found.total) == (8.0, 19.0, 27.0)
    # Packet id 2, expiry 5; a PUBACK of 4.
    found = measure(Manner(1, 60, alias=True, receipt_every_s=1.0), frames=6)
    assert (found.up, found.down) == (15.0, 23.0)
