from __future__ import annotations

import pytest

from aiflow.bench import packets_frame
from aiflow.bench.packets_frame import LINK, measure
from aiflow.bench.packets_space import why_not
from aiflow.common.bundle import built_in


def test_a_frame_of_a_real_device_weighs_its_payload_and_headers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each frame is a packet of its own, and so is what acknowledges it."""
    obstacle = why_not()
    if obstacle is not None:
        pytest.skip(obstacle)
    if "street" not in built_in():
        pytest.skip("needs the built-in bundle `street`; make it with scripts/train")
    monkeypatch.setattr(packets_frame, "FPS", 5.0)
    found = measure(LINK, frames=6)
    assert found.embedding < found.mqtt_message <= found.tcp_payload_up
    assert found.packets_up >= 1
    assert found.packets_down > 0
    # IPv4's header and TCP's, with the time stamps that Linux puts in, and at least without.
    assert 40 <= (found.air_up - found.tcp_payload_up) / found.packets_up <= 60
    assert 40 <= (found.air_down - found.tcp_payload_down) / found.packets_down <= 60
