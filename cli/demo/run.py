"""The whole path on one machine, captions as they come, and a summary."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from aiflow.cli.demo.report import Summary, Tally
from aiflow.cli.faults import Terminated
from aiflow.cli.output import check_writable, write_json
from aiflow.cli.screen import DEMO_HEAD, Screen
from aiflow.common.errors import AiflowError
from aiflow.common.messages import Caption
from aiflow.rig.link import LinkSpec
from aiflow.rig.system import System, SystemOptions, running

FIRST_CAPTION_S: Final = 60.0
STILL_S: Final = 30.0
"""Longest pause between two captions, beyond what the frame rate explains."""
SETTLE_S: Final = 0.8
"""At the end, updates are awaited until so long nothing has come,"""
MAX_SETTLE_S: Final = 6.0
"""and at most so long: an escalation that is not answered by then is given up."""
_TICK_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What to put up, for how many frames, and where to write the result."""

    system: SystemOptions
    frames: int = 30
    forever: bool = False
    json_path: Path | None = None


def demo(options: DemoOptions) -> None:
    """Show captions until `frames` have come. Raises AiflowError, also when one is missing."""
    if options.json_path is not None:
        check_writable(options.json_path)
    screen = Screen(sys.stdout)
    run = Tally()
    with _ended_by_signals(), running(options.system) as system:
        screen.line(system.route)
        screen.line(DEMO_HEAD)
        if options.forever:
            # Ctrl-C or SIGTERM is how it is meant to end.
            with suppress(KeyboardInterrupt, Terminated):
                _show(system, screen, run, sys.maxsize)
        else:
            _show(system, screen, run, options.frames)
        uplink_bytes = system.link.up_bytes
        system.switch.turn("OFF")
        _settle(system, screen, run)
        _look_up_truth(system, run)
        link_bytes = {"up": system.link.up_bytes, "down": system.link.down_bytes}
    summary = run.summary(uplink_bytes)
    screen.line(str(summary))
    if options.json_path is not None:
        write_json(options.json_path, _document(options, run, summary) | {"link_bytes": link_bytes})
    _complain_of_missing(run)


def _show(system: System, screen: Screen, run: Tally, frames: int) -> None:
    """Show captions until those of `frames` frames have come."""
    pause_s = STILL_S + 10.0 / system.plan.fps
    give_up_at = time.monotonic() + FIRST_CAPTION_S
    while run.count < frames:
        caption = system.captions.next(_TICK_S)
        system.check()
        if caption is not None:
            _take(system, screen, run, caption)
            give_up_at = time.monotonic() + pause_s
        elif time.monotonic() > give_up_at:
            raise AiflowError(_silence(system, run, frames))


def _settle(system: System, screen: Screen, run: Tally) -> None:
    """Wait for updates in flight, and for captions that others have overtaken."""
    deadline = time.monotonic() + MAX_SETTLE_S
    quiet_at = time.monotonic() + SETTLE_S
    while time.monotonic() < (deadline if run.missing() else min(quiet_at, deadline)):
        caption = system.captions.next(_TICK_S)
        if caption is None:
            continue
        if caption.id in run.frames or caption.sequence in run.missing():
            _take(system, screen, run, caption)
            quiet_at = time.monotonic() + SETTLE_S


def _take(system: System, screen: Screen, run: Tally, caption: Caption) -> None:
    truth = system.truth.at(caption.timestamp) if system.truth is not None else None
    frame = run.add(caption, truth)
    if frame is not None:
        screen.numbered(frame.number, caption, frame.jpeg_bytes)


def _look_up_truth(system: System, run: Tally) -> None:
    """Once more for frames whose truth had not been written when their caption came."""
    if system.truth is not None:
        for frame in run.frames.values():
            frame.truth = frame.truth or system.truth.at(frame.first.timestamp)


def _silence(system: System, run: Tally, frames: int) -> str:
    """Why nothing comes, as far as the tiers' logs tell."""
    words = [
        f"{child.name}'s log ends: {line}"
        for child in system.children
        for line in child.last_lines(1)
    ]
    what = f"only {run.count} of {frames} captions came" if run.count else "no caption came"
    return "\n    ".join(
        [f"{what}; a camera whose picture stays the same sends nothing, else see:", *words]
    )


def _complain_of_missing(run: Tally) -> None:
    if run.count == 0:
        raise AiflowError("no caption came")
    missing = run.missing()
    if missing:
        numbers = ", ".join(str(sequence) for sequence in missing[:10])
        raise AiflowError(
            f"{len(missing)} captions of {run.count + len(missing)} are missing"
            f" (frames with sequence {numbers})"
        )


def _document(options: DemoOptions, run: Tally, summary: Summary) -> dict[str, object]:
    """What --json writes: `captions` has each frame's latest message, `events` all that came."""
    link = options.system.link or LinkSpec()
    return {
        "captions": [
            frame.latest.model_dump(mode="json", exclude_none=True) for frame in run.frames.values()
        ],
        "events": [event.model_dump(mode="json", exclude_none=True) for event in run.events],
        "summary": summary.to_json(),
        "options": {
            "camera": options.system.camera,
            "fps": options.system.fps,
            "seed": options.system.seed,
            "bundle": options.system.bundle,
            "mode": options.system.mode,
            "rate_bytes_s": link.rate_bytes_s,
            "rtt_s": link.rtt_s,
        },
    }


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM, and the closing of the terminal, end the demo in good order as Ctrl-C does."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # as nohup asks
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
