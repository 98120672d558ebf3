"""Whatever is killed, a frame that the gate accepted gets its caption."""

from __future__ import annotations

import signal
import statistics
import time
from typing import TYPE_CHECKING

import pytest

from aiflow.common.messages import Caption

if TYPE_CHECKING:
    from tests.system.conftest import System

REST_S = 40.0


@pytest.fixture(autouse=True)
def _sent_again_soon(system: System) -> None:
    """What was lost with a process need not be waited for as long as in a field."""
    system.configure("device", "sending = { resend_after_s = 1.0 }")


def settle(system: System) -> set[str]:
    """Switch the camera off, wait until everything has a receipt; ids of all frames accepted."""
    system.camera("OFF")
    deadline = time.monotonic() + REST_S
    while system.outbox().waiting or _camera_state(system) != b"OFF":
        assert time.monotonic() < deadline, f"frames left without a receipt: {system.outbox()}"
        time.sleep(0.1)
    return system.outbox().accepted


def _camera_state(system: System) -> bytes | None:
    return system.recorder.last("aiflow/demo/street/enabled/state")


def crash(system: System, *names: str) -> set[str]:
    """Kill, wait a little, start again; the ids of frames that were accepted before that."""
    for name in names:
        system.child(name).kill()
    time.sleep(0.7)
    accepted = system.outbox().accepted
    for name in names:
        assert not system.child(name).running
        if name == "broker":
            system.broker.start()
            system.recorder.connect_again()
        else:
            system.child(name).start()
    return accepted


@pytest.mark.parametrize("name", ["edge", "cloud", "device", "broker"])
def test_a_crash_in_the_middle_loses_no_caption(name: str, system: System) -> None:
    # Every frame is to wait for the edge node; captions of the device's own are in test_modes.py.
    system.mode("cascade")
    system.start()
    system.wait_for_captions(5)
    accepted = crash(system, name)
    system.wait_for_captions(len(system.captioned()) + 5)
    accepted |= settle(system)
    assert len(accepted) >= 10
    assert system.captioned() == accepted
    if name != "broker":  # what the broker held when it died may come a second time
        firsts = [caption.id for caption in system.captions() if caption.type == "new"]
        assert len(firsts) == len(accepted)


def test_frames_that_wait_outlive_the_device(system: System) -> None:
    """The device dies while the edge node is away: the session goes on where it was."""
    system.start("device")
    _wait_until_accepted(system, 5)
    session = system.outbox().epoch_ms
    accepted = crash(system, "device")
    _wait_until_accepted(system, len(accepted) + 3)
    system.start("edge")
    accepted |= settle(system)
    assert system.outbox().epoch_ms == session
    assert system.captioned() == accepted


def test_frames_wait_for_an_edge_node_that_comes_later(system: System) -> None:
    system.mode("cascade")
    system.start("device")
    _wait_until_accepted(system, 8)
    assert system.captions() == []
    system.start("edge")
    accepted = settle(system)
    assert system.captioned() == accepted


def test_a_link_that_is_cut_delays_captions_and_loses_none(system: System) -> None:
    system.configure("edge", "late_after_s = 0.7")
    system.start("device", "edge")
    system.wait_for_captions(5)
    system.link.cut(reset=True)
    time.sleep(1.5)
    system.link.heal()
    system.wait_for_captions(len(system.captioned()) + 10)
    accepted = settle(system)
    assert system.captioned() == accepted
    assert any(caption.late for caption in system.captions())
    retained = system.recorder.messages("aiflow/demo/street/caption")
    assert Caption.from_json(retained[-1]).sequence == len(accepted) - 1


def test_a_link_that_goes_silent_loses_no_caption(system: System) -> None:
    """Nobody is told that it is down: the device finds out by its own keepalive, or not at all."""
    system.start("device", "edge")
    system.wait_for_captions(5)
    system.link.cut()
    time.sleep(2.5)
    system.link.heal()
    system.wait_for_captions(len(system.captioned()) + 5)
    accepted = settle(system)
    assert system.captioned() == accepted


def test_a_cloud_that_is_absent_or_silent_holds_up_no_caption(system: System) -> None:
    system.start("device", "edge")
    system.wait_for_captions(10)
    system.start("cloud")
    system.wait_for_captions(15)
    system.child("cloud").tell(signal.SIGSTOP)  # it takes requests and never answers
    try:
        system.wait_for_captions(25)
    finally:
        system.child("cloud").tell(signal.SIGCONT)
    firsts = [caption for caption in system.captions() if caption.type == "new"]
    assert statistics.median(caption.latency_s.total for caption in firsts[5:]) < 1.0


def _wait_until_accepted(system: System, count: int) -> None:
    deadline = time.monotonic() + 30.0
    while len(system.outbox().accepted) < count:
        assert time.monotonic() < deadline
        time.sleep(0.1)
