from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from aiflow.device.wakeup import WakeUp


@pytest.fixture
def wakeup() -> Iterator[WakeUp]:
    wakeup = WakeUp()
    yield wakeup
    wakeup.close()


def test_waking_ends_a_wait_once(wakeup: WakeUp) -> None:
    wakeup.wake()
    wakeup.wake()
    began = time.monotonic()
    assert wakeup.wait(30) is False
    assert time.monotonic() - began < 15
    assert wakeup.wait(0.01) is False
    timer = threading.Timer(0.02, wakeup.wake)
    timer.start()
    assert wakeup.wait() is False
    timer.join()


def test_wait_is_never_too_short(wakeup: WakeUp) -> None:
    for timeout_s in (0.0, 0.0101, 0.02):
        began = time.monotonic()
        assert wakeup.wait(timeout_s) is False
        assert time.monotonic() - began >= timeout_s


def test_descriptor_ends_a_wait_as_well(wakeup: WakeUp) -> None:
    reader, writer = os.pipe()
    assert wakeup.wait(0.01, reader) is False
    os.write(writer, b"x")
    assert wakeup.wait(30, reader) is True
    wakeup.wake()
    assert wakeup.wait(30, reader) is True
    for end in (reader, writer):
        os.close(end)


def test_nobody_hears_a_bell_that_is_closed() -> None:
    wakeup = WakeUp()
    wakeup.close()
    wakeup.wake()
