"""Runs of the case study: a system, a link, and when the captions of its frames came.

camera -> device --- link under test --- broker --- edge            each its own process
`--- 30 ms away --- cloud
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Final

from aiflow.bench import upload
from aiflow.client import Captions
from aiflow.common.config import Broker
from aiflow.common.errors import AiflowError
from aiflow.common.messages import Caption
from aiflow.rig.broker import PrivateBroker
from aiflow.rig.child import Child, check_all, stop_all
from aiflow.rig.link import EmulatedLink, LinkSpec
from aiflow.rig.tiers import DemoMode, Plan, tier_processes
from aiflow.rig.truth import Truth, TruthFile

MODES: Final[tuple[DemoMode, ...]] = ("device", "split", "cascade", "auto")
UPLOADS: Final = ("edge-jpeg", "cloud-jpeg", "cloud-matched")
FPS: Final = 2.0
FRAMES: Final = 20
ROUNDS: Final = 3
"""Our own modes differ by little: each runs so often, in turn, and its frames are pooled."""
ROUND_FRAMES: Final = 12
WARM_UP: Final = 3
"""Captions at the start of a run that are not counted."""
RUN_S: Final = 75.0
"""A run that is slower ends with what has come by then."""
SETTLE_S: Final = 1.0
CUTS: Final = 3
CUT_S: Final = 8.0
HEAL_S: Final = 20.0
WAN: Final = LinkSpec(None, 0.03)
"""Between the broker and the cloud."""
SWITCH_LINK: Final = "125KB/s,50ms"
_OWN_CAPTION: Final = re.compile(rb" \(\d\.\d\d\)\n")

Say = Callable[[str], None]


@dataclass(slots=True, eq=False)
class Observed:
    """What came of one run."""

    first: dict[str, tuple[float, Caption]] = field(default_factory=dict)
    """By id: seconds from capture to the first caption, and that."""
    last: dict[str, tuple[float, Caption]] = field(default_factory=dict)
    truths: dict[str, Truth] = field(default_factory=dict)
    uplink_bytes: float = 0.0

    def take(self, caption: Caption, truth: Truth | None = None) -> None:
        came = (time.time() - caption.timestamp, caption)
        self.first.setdefault(caption.id, came)
        self.last[caption.id] = came
        if truth is not None:
            self.truths[caption.id] = truth


@dataclass(frozen=True, slots=True)
class Running:
    """A run's processes: who sends, and where captions come."""

    captions: Captions
    link: EmulatedLink
    children: Sequence[Child]
    device_log: Path
    truth: TruthFile


def observe_all(
    spec: LinkSpec, pictures: Mapping[str, upload.PictureCodec], seed: int
) -> dict[str, list[Observed]]:
    """Run every system over one link; our own modes in turn, since machines have their moods."""
    runs: dict[str, list[Observed]] = {system: [] for system in (*MODES, *UPLOADS)}
    for number, mode in product(range(ROUNDS), MODES):
        runs[mode].append(observe(mode, spec, None, seed + number, ROUND_FRAMES))
    for system in UPLOADS:
        runs[system].append(observe(system, spec, pictures[system], seed, FRAMES))
    return runs


def observe(
    system: str, spec: LinkSpec, picture: upload.PictureCodec | None, seed: int, frames: int
) -> Observed:
    """Run one system over one link until so many frames have come. Raises AiflowError."""
    with running(system, spec, picture, seed) as run:
        seen = Observed()
        until = time.monotonic() + RUN_S
        first_bytes = 0
        while len(seen.first) < WARM_UP + frames and time.monotonic() < until:
            _next(run, seen, 0.1)
            if len(seen.first) == 1 and not first_bytes:
                first_bytes = run.link.up_bytes
        after = max(len(seen.first) - 1, 1)
        seen.uplink_bytes = (run.link.up_bytes - first_bytes) / after
        until = time.monotonic() + SETTLE_S
        while time.monotonic() < until:
            _next(run, seen, 0.1)
    if not seen.first:
        raise AiflowError(f"{system} over {spec} gave no caption in {RUN_S:.0f} s")
    return seen


@contextmanager
def running(
    system: str, spec: LinkSpec, picture: upload.PictureCodec | None, seed: int
) -> Iterator[Running]:
    """All processes of one system, with the links between them."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aiflow-case-")))
        broker = stack.enter_context(PrivateBroker())
        link = stack.enter_context(EmulatedLink(broker.host, broker.port, spec))
        wan = stack.enter_context(EmulatedLink(broker.host, broker.port, WAN))
        here = Broker(host=broker.host, port=broker.port)
        truth = folder / "truth.jsonl"
        uri = f"synthetic:street?seed={seed}&truth={truth}"
        if picture is None:
            plan = Plan(
                broker=here,
                device_broker=Broker(host=broker.host, port=link.port),
                cloud_broker=Broker(host=broker.host, port=wan.port),
                uri=uri,
                fps=FPS,
                mode=_mode(system),
            )
            tiers = tier_processes(plan, folder)
            children = [tiers[tier] for tier in reversed(plan.tiers)]
            device, camera = plan.device, plan.camera
        else:
            tier = "edge" if system == "edge-jpeg" else "cloud"
            ports = {"camera": link.port, tier: wan.port if tier == "cloud" else broker.port}
            children = [
                _uploading(role, broker.host, ports[role], uri, picture, folder)
                for role in (tier, "camera")
            ]
            device = camera = upload.DEVICE
        captions = stack.enter_context(Captions(here, device=device, camera=camera))
        stack.callback(stop_all, list(reversed(children)))
        for child in children:
            child.start()
        yield Running(
            captions, link, (broker.child, *children), folder / "device.log", TruthFile(truth)
        )


def switch(seed: int, say: Say) -> dict[str, Any]:
    """How soon a device in mode auto captions by itself after a silent cut, and goes back."""
    alone: list[float] = []
    back: list[float] = []
    for number in range(CUTS):
        with running("auto", LinkSpec.parse(SWITCH_LINK), None, seed + number) as run:
            seen = Observed()
            _until(run, seen, lambda seen: len(seen.first) >= 2 * WARM_UP, RUN_S, "start")
            known = len(_OWN_CAPTION.findall(run.device_log.read_bytes()))
            cut_at = time.monotonic()
            run.link.cut()
            until = cut_at + CUT_S
            while time.monotonic() < until:
                said = len(_OWN_CAPTION.findall(run.device_log.read_bytes()))
                if said > known and len(alone) == number:
                    alone.append(time.monotonic() - cut_at)
                time.sleep(0.01)
            healed_at = time.time()
            run.link.heal()

            def again(seen: Observed, healed_at: float = healed_at) -> bool:
                return any(
                    caption.tier == "edge" and caption.timestamp > healed_at
                    for _, caption in seen.first.values()
                )

            _until(run, seen, again, HEAL_S, "the way back")
            back.append(time.time() - healed_at)
            if len(alone) == number:
                raise AiflowError(f"the device said nothing in {CUT_S:.0f} s of a cut link")
        say(f"cut: own caption after {alone[-1]:.2f} s; healed: back after {back[-1]:.2f} s")
    return {
        "link": SWITCH_LINK,
        "own_caption_s": [round(one, 3) for one in alone],
        "back_s": [round(one, 3) for one in back],
    }


def _mode(system: str) -> DemoMode:
    return next(mode for mode in MODES if mode == system)


def _uploading(
    role: str, host: str, port: int, uri: str, picture: upload.PictureCodec, folder: Path
) -> Child:
    job = {"role": role, "host": host, "port": port, "uri": uri, "fps": FPS}
    if role == "camera":
        job["picture"] = picture.model_dump()
    command = [sys.executable, "-P", "-m", "aiflow.bench.upload", json.dumps(job)]
    return Child(role, command, folder / f"{role}.log")


def _next(run: Running, seen: Observed, timeout_s: float) -> None:
    caption = run.captions.next(timeout_s)
    if caption is not None:
        seen.take(caption, run.truth.at(caption.timestamp))
    check_all(run.children)


def _until(
    run: Running, seen: Observed, done: Callable[[Observed], bool], timeout_s: float, what: str
) -> None:
    until = time.monotonic() + timeout_s
    while not done(seen):
        if time.monotonic() > until:
            raise AiflowError(f"{what}: nothing more came in {timeout_s:.0f} s")
        _next(run, seen, 0.05)
