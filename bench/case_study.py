"""The paper's experiment in our world: who captions, over which link, how soon and how well.

    camera -> device --- link under test --- broker --- edge            each its own process
                                                `--- 30 ms away --- cloud

Each system runs on each link for some frames of the live street. Latency is from the capture of a
frame to its caption at a listener beside the broker. The quality of a system does not depend on
the link; it is measured on test scenes, which are many more than the frames of a run.
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
from pathlib import Path
from statistics import mean
from typing import Any, Final

import numpy as np

from aiflow.bench import case_page, upload
from aiflow.bench.broker import PrivateBroker
from aiflow.bench.case_model import CAMERA_PICTURE, WAN, World, parts, projected_s
from aiflow.bench.link import Link, LinkSpec
from aiflow.bench.processes import Child, check_all, stop_all
from aiflow.bench.tables import Goal
from aiflow.cli.listener import Listener
from aiflow.cli.processes import DemoMode, Plan, tier_processes
from aiflow.cli.truth import Truth, TruthFile
from aiflow.common.config import Broker
from aiflow.common.errors import AiflowError
from aiflow.common.messages import Caption
from aiflow.common.street.grammar import parse
from aiflow.common.street.scene import facts_score
from aiflow.common.topics import Topics

LINKS: Final = ("2KB/s,200ms", "25KB/s,50ms", "125KB/s,50ms", "1.25MB/s,20ms")
MODES: Final[tuple[DemoMode, ...]] = ("device", "split", "cascade", "auto")
UPLOADS: Final = ("edge-jpeg", "cloud-jpeg", "cloud-matched")
SCENES: Final = 400
FPS: Final = 2.0
FRAMES: Final = 20
WARM_UP: Final = 3
"""Captions at the start of a run that are not counted."""
RUN_S: Final = 75.0
"""A run that is slower ends with what has come by then."""
SETTLE_S: Final = 1.0
CUTS: Final = 3
CUT_S: Final = 8.0
HEAL_S: Final = 20.0
SWITCH_LINK: Final = "125KB/s,50ms"
_OWN_CAPTION: Final = re.compile(rb" \(\d\.\d\d\)\n")

Say = Callable[[str], None]


@dataclass(slots=True, eq=False)
class Seen:
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
class Rig:
    """A run's processes: who sends, and where captions come."""

    listener: Listener
    link: Link
    children: Sequence[Child]
    device_log: Path
    truth: TruthFile


def run(*, seed: int, plot: Path | None, say: Say, scenes: int | None = None) -> Mapping[str, Any]:
    """Measure everything; `scenes` (400) are for the quality of captions."""
    say(f"quality on {scenes or SCENES} test scenes")
    world = World.draw(seed, scenes or SCENES)
    matched = world.judge(say)
    part = parts(world, matched, seed)
    say("  ".join(f"{name} {1e3 * seconds:.1f} ms" for name, seconds in part.items()))
    pictures = dict(zip(UPLOADS, (CAMERA_PICTURE, CAMERA_PICTURE, matched), strict=True))
    rows = []
    for text in LINKS:
        for system in (*MODES, *UPLOADS):
            seen = observe(system, LinkSpec.parse(text), pictures.get(system), seed)
            row = summary(system, text, seen) | _quality(world, system)
            sent = row["uplink_bytes_mean"]
            row["projected_s"] = round(projected_s(system, sent, LinkSpec.parse(text), part), 4)
            rows.append(row)
            say(case_page.line(row))
    figures = {
        "scenes": len(world.views),
        "matched": str(matched),
        "camera_picture": str(CAMERA_PICTURE),
        "wan": str(WAN),
        "parts_s": {name: round(seconds, 5) for name, seconds in part.items()},
        "rows": rows,
        "switch": switch(seed, say),
    }
    say(case_page.table(figures, goals(figures)))
    if plot is not None:
        case_page.draw(figures, plot)
    return figures


def observe(system: str, spec: LinkSpec, picture: upload.Picture | None, seed: int) -> Seen:
    """Run one system over one link until enough has come. Raises AiflowError."""
    with running(system, spec, picture, seed) as rig:
        seen = Seen()
        until = time.monotonic() + RUN_S
        first_bytes = 0
        while len(seen.first) < WARM_UP + FRAMES and time.monotonic() < until:
            _next(rig, seen, 0.1)
            if len(seen.first) == 1 and not first_bytes:
                first_bytes = rig.link.up_bytes
        after = max(len(seen.first) - 1, 1)
        seen.uplink_bytes = (rig.link.up_bytes - first_bytes) / after
        until = time.monotonic() + SETTLE_S
        while time.monotonic() < until:
            _next(rig, seen, 0.1)
    if not seen.first:
        raise AiflowError(f"{system} over {spec} gave no caption in {RUN_S:.0f} s")
    return seen


def summary(system: str, link: str, seen: Seen) -> dict[str, Any]:
    """A row of the study, without the quality of captions."""
    ids = list(seen.first)
    counted = ids[min(WARM_UP, len(ids) // 4) :]
    firsts = [seen.first[one] for one in counted]
    took = np.array([seconds for seconds, _ in firsts])
    final = np.array([seen.last[one][0] for one in counted])
    stages: dict[str, list[float]] = {}
    for _, caption in (seen.last[one] for one in counted):
        for name, seconds in caption.latency_s.model_dump(exclude_none=True).items():
            stages.setdefault(name, []).append(seconds)
    tiers = [seen.last[one][1].tier for one in counted]
    pairs = [
        (parse(seen.last[one][1].text), seen.truths[one].facts)
        for one in counted
        if one in seen.truths
    ]
    return {
        "system": system,
        "link": link,
        "frames": len(counted),
        "latency_p50_s": round(float(np.median(took)), 4),
        "latency_p95_s": round(float(np.quantile(took, 0.95)), 4),
        "final_p50_s": round(float(np.median(final)), 4),
        "uplink_bytes_mean": round(seen.uplink_bytes, 1),
        "stages": {name: round(mean(values), 5) for name, values in stages.items()},
        "tiers": {tier: tiers.count(tier) for tier in sorted(set(tiers))},
        "live_f1": round(facts_score(pairs).f1, 4) if pairs else None,
    }


@contextmanager
def running(
    system: str, spec: LinkSpec, picture: upload.Picture | None, seed: int
) -> Iterator[Rig]:
    """All processes of one system, with the links between them."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aiflow-case-")))
        broker = stack.enter_context(PrivateBroker())
        link = stack.enter_context(Link(broker.host, broker.port, spec))
        wan = stack.enter_context(Link(broker.host, broker.port, WAN))
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
            topic = Topics(here.prefix).event(plan.device, plan.camera)
        else:
            tier = "edge" if system == "edge-jpeg" else "cloud"
            ports = {"camera": link.port, tier: wan.port if tier == "cloud" else broker.port}
            children = [
                _uploading(role, broker.host, ports[role], uri, picture, folder)
                for role in (tier, "camera")
            ]
            topic = upload.CAPTIONS
        listener = stack.enter_context(Listener(here, topic))
        listener.session.wait_connected(10.0)
        stack.callback(stop_all, list(reversed(children)))
        for child in children:
            child.start()
        yield Rig(
            listener, link, (broker.child, *children), folder / "device.log", TruthFile(truth)
        )


def switch(seed: int, say: Say) -> dict[str, Any]:
    """How soon a device in mode auto captions by itself after a silent cut, and goes back."""
    alone: list[float] = []
    back: list[float] = []
    for number in range(CUTS):
        with running("auto", LinkSpec.parse(SWITCH_LINK), None, seed + number) as rig:
            seen = Seen()
            _until(rig, seen, lambda seen: len(seen.first) >= 2 * WARM_UP, RUN_S, "start")
            known = len(_OWN_CAPTION.findall(rig.device_log.read_bytes()))
            cut_at = time.monotonic()
            rig.link.cut()
            until = cut_at + CUT_S
            while time.monotonic() < until:
                said = len(_OWN_CAPTION.findall(rig.device_log.read_bytes()))
                if said > known and len(alone) == number:
                    alone.append(time.monotonic() - cut_at)
                time.sleep(0.01)
            healed_at = time.time()
            rig.link.heal()

            def again(seen: Seen, healed_at: float = healed_at) -> bool:
                return any(
                    caption.tier == "edge" and caption.timestamp > healed_at
                    for _, caption in seen.first.values()
                )

            _until(rig, seen, again, HEAL_S, "the way back")
            back.append(time.time() - healed_at)
            if len(alone) == number:
                raise AiflowError(f"the device said nothing in {CUT_S:.0f} s of a cut link")
        say(f"cut: own caption after {alone[-1]:.2f} s; healed: back after {back[-1]:.2f} s")
    return {
        "link": SWITCH_LINK,
        "own_caption_s": [round(one, 3) for one in alone],
        "back_s": [round(one, 3) for one in back],
    }


def goals(figures: Mapping[str, Any]) -> list[Goal]:
    """What cooperation was built to reach, and what it does."""
    p50 = {(row["system"], row["link"]): row["latency_p50_s"] for row in figures["rows"]}
    slow, lan = LINKS[0], LINKS[1]
    never = max(p50["cascade", link] / p50["cloud-jpeg", link] for link in LINKS)
    matched = max(p50["cascade", link] / p50["cloud-matched", link] for link in LINKS)
    auto = max(
        p50["auto", link] / min(p50[mode, link] for mode in MODES if mode != "auto")
        for link in LINKS
    )
    switch = figures["switch"]
    return [
        Goal(f"cascade's p50 over cloud JPEG's, {lan}", "≤", 0.10,
             p50["cascade", lan] / p50["cloud-jpeg", lan]),
        Goal(f"cascade's p50 over the matched picture's, {slow}", "≤", 0.5,
             p50["cascade", slow] / p50["cloud-matched", slow]),
        Goal("cascade's p50 over cloud JPEG's, the worst link", "≤", 1.0, never),
        Goal("cascade's p50 over the matched picture's, the worst link", "≤", 1.0, matched),
        Goal("auto's p50 over the best forced mode's, the worst link", "≤", 1.1, auto),
        Goal("own caption after a silent cut, s (worst)", "≤", 2.0, max(switch["own_caption_s"])),
        Goal("edge's caption after it heals, s (worst)", "≤", 5.0, max(switch["back_s"])),
    ]  # fmt: skip


def _mode(system: str) -> DemoMode:
    return next(mode for mode in MODES if mode == system)


def _uploading(
    role: str, host: str, port: int, uri: str, picture: upload.Picture, folder: Path
) -> Child:
    job = {"role": role, "host": host, "port": port, "uri": uri, "fps": FPS}
    if role == "camera":
        job["picture"] = picture.model_dump()
    command = [sys.executable, "-P", "-m", "aiflow.bench.upload", json.dumps(job)]
    return Child(role, command, folder / f"{role}.log")


def _quality(world: World, system: str) -> dict[str, Any]:
    scores = world.scores[system]
    return {
        "cider": round(float(scores.cider.mean()), 4),
        "fact_f1": round(scores.fact_f1, 4),
    }


def _next(rig: Rig, seen: Seen, timeout_s: float) -> None:
    caption = rig.listener.next(timeout_s)
    if caption is not None:
        seen.take(caption, rig.truth.at(caption.timestamp))
    check_all(rig.children)


def _until(rig: Rig, seen: Seen, done: Callable[[Seen], bool], timeout_s: float, what: str) -> None:
    until = time.monotonic() + timeout_s
    while not done(seen):
        if time.monotonic() > until:
            raise AiflowError(f"{what}: nothing more came in {timeout_s:.0f} s")
        _next(rig, seen, 0.05)
