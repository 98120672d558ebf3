from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from aiflow.device.bell import Bell


@pytest.fixture
def bell() -> Iterator[Bell]:
    bell = Bell()
    yield bell
    bell.close()


def test_ringing_ends_a_wait_once(bell: Bell) -> None:
    bell.ring()
    bell.ring()
    began = time.monotonic()
    assert bell.wait(30) is False
    assert time.monotonic() - began < 15
    assert bell.wait(0.01) is False
    timer = threading.Timer(0.02, bell.ring)
    timer.start()
    assert bell.wait() is False
    timer.join()


def test_wait_is_never_too_short(bell: Bell) -> None:
    for timeout_s in (0.0, 0.0101, 0.02):
        began = time.monotonic()
        assert bell.wait(timeout_s) is False
        assert time.monotonic() - began >= timeout_s


def test_descriptor_ends_a_wait_as_well(bell: Bell) -> None:
    reader, writer = os.pipe()
    assert bell.wait(0.01, reader) is False
    os.write(writer, b"x")
    assert bell.wait(30, reader) is True
    bell.ring()
    assert bell.wait(30, reader) is True
    for end in (reader, writer):
        os.close(end)


def test_nobody_hears_a_bell_that_is_closed() -> None:
    bell = Bell()
    bell.close()
    bell.ring()
