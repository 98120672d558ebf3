"""When to ask the cloud: with a whole draft, or while the edge still decodes, over links to it.

    player --- broker --- edge (a process)
                 `------- link under test --- cloud (a process)

The player sends test scenes that the edge is bound to doubt, one after the other, each when the
last has its answer. Measured is from the sending of a frame to the cloud's caption at a listener
beside the broker, for the same scenes each time, and compared scene by scene.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from aiflow import __version__
from aiflow.bench.broker import PrivateBroker
from aiflow.bench.captions import interval
from aiflow.bench.link import Link, LinkSpec
from aiflow.bench.painters import Painters
from aiflow.bench.processes import Child, check_all, stop_all
from aiflow.bench.tables import markdown
from aiflow.cli import toml
from aiflow.cli.listener import Listener
from aiflow.cli.processes import tier_process
from aiflow.common.bundle import Bundle
from aiflow.common.captioner import Captioner, Draft, Request
from aiflow.common.codec import Symbols, compress
from aiflow.common.config import Broker
from aiflow.common.encoder import Encoder
from aiflow.common.errors import AiflowError, PayloadError
from aiflow.common.messages import Descriptor, EdgeStats
from aiflow.common.mqtt import Properties
from aiflow.common.topics import Topics
from aiflow.common.wire import Context, Kind, Packet, pack
from aiflow.edge.pace import TRIALS, Drafts

LINKS: Final = ("1.25MB/s,20ms", "25KB/s,50ms", "2KB/s,200ms")
WAYS: Final[tuple[Drafts, ...]] = ("whole", "streamed", "auto")
SCENES: Final = 60
SEARCHED: Final = 40
"""Test scenes that are looked at for each one that is doubted."""
WARM_UP: Final = 2 * TRIALS
"""Frames at the start of a run that are not counted: `auto` tries both ways then."""
ANSWER_S: Final = 10.0
FIRST_ANSWER_S: Final = 2.0
START_S: Final = 30.0
POLL_S: Final = 0.5
RESAMPLED: Final = 400
CONTEXT: Final = Context("porch", "door", 1_760_000_000_000)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Doubted:
    """A test scene that the edge is unsure of, and the cloud's own caption of it."""

    symbols: Symbols
    cloud: Draft


@dataclass(slots=True)
class Run:
    """One way over one link: seconds of each scene, and what the edge counted."""

    seconds: list[float] = field(default_factory=list)
    identical: int = 0
    streamed_share: float = 0.0
    """Of the questions, those that were asked while the edge still decoded."""


def run(*, seed: int, plot: Path | None, say: Say, scenes: int | None = None) -> Mapping[str, Any]:
    """Measure both ways, and the edge's own choice, over three links to the cloud."""
    del plot  # a table says it all
    bundle = Bundle.open("street")
    doubted = list(doubtful(bundle, seed, scenes or SCENES, say))
    rows = []
    for text in LINKS:
        runs: dict[Drafts, Run] = {}
        for way in WAYS:
            runs[way] = observe(bundle, doubted, LinkSpec.parse(text), way)
            rows.append(_row(text, way, runs[way], runs["whole"], seed))
            say("{link}, {drafts}: p50 {answered_p50_s:.4f} s".format_map(rows[-1]))
    figures = {"scenes": len(doubted), "warm_up": WARM_UP, "rows": rows}
    say(table(figures))
    return figures


def doubtful(bundle: Bundle, seed: int, count: int, say: Say) -> Iterator[Doubted]:
    """Test scenes whose caption ends below the threshold. AiflowError if there are too few."""
    encoder, edge, cloud = (
        Encoder.load(bundle),
        Captioner(bundle, "edge"),
        Captioner(bundle, "cloud"),
    )
    found = 0
    with Painters(seed) as painters:
        for number, view in enumerate(painters.views("test", 0, (count + WARM_UP) * SEARCHED)):
            request = Request(encoder.encode(view.image).symbols)
            (draft,) = edge.caption([request])
            if draft.confidence < bundle.manifest.escalate_below:
                found += 1
                yield Doubted(request.symbols, cloud.caption([request])[0])
            if found == count + WARM_UP:
                return
            if number % 400 == 0:
                say(f"{found} doubtful scenes among {number + 1}")
    raise AiflowError(f"the edge doubts only {found} of its captions; {count + WARM_UP} are needed")


def observe(bundle: Bundle, doubted: Sequence[Doubted], spec: LinkSpec, way: Drafts) -> Run:
    """Have all scenes captioned, one after the other. Raises AiflowError."""
    went = Run()
    with running(bundle, spec, way) as (listener, children, streamed):
        topics = Topics()
        topic = topics.embedding(CONTEXT.device, CONTEXT.camera)
        sequences = itertools.count(1)

        def ask(one: Doubted, timeout_s: float) -> str | None:
            sequence = next(sequences)
            if not listener.session.publish(topic, _payload(bundle, one, sequence), qos=1):
                raise AiflowError("the broker does not take the frames")
            return _answer(listener, children, sequence, timeout_s)

        until = time.monotonic() + START_S
        while ask(doubted[0], FIRST_ANSWER_S) is None:
            if time.monotonic() > until:
                raise AiflowError(f"edge and cloud gave no caption within {START_S:.0f} s")
        for number, one in enumerate(doubted):
            sent_at = time.monotonic()
            text = ask(one, ANSWER_S)
            if text is None:
                raise AiflowError(f"no answer of the cloud in {ANSWER_S:.0f} s")
            if number >= WARM_UP:
                went.seconds.append(time.monotonic() - sent_at)
                went.identical += text == one.cloud.text
        went.streamed_share = streamed()
    return went


@contextmanager
def running(
    bundle: Bundle, spec: LinkSpec, way: Drafts
) -> Iterator[tuple[Listener, Sequence[Child], Callable[[], float]]]:
    """Edge and cloud with the link between; a listener, and the share of streamed questions."""
    topics, counted = Topics(), [0.0]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aiflow-drafts-")))
        broker = stack.enter_context(PrivateBroker())
        link = stack.enter_context(Link(broker.host, broker.port, spec))
        edge: dict[str, toml.Value] = {
            "node": "bench",
            "ledger": folder / "ledger.sqlite",
            "drafts": way,
            "stats_every_s": 1.0,
            "cloud_deadline_s": ANSWER_S,
            "escalations_per_minute": 10_000,
            "broker": {"port": broker.port},
            "dashboard": {"enabled": False},
        }
        cloud: dict[str, toml.Value] = {"broker": {"port": link.port}}
        children = [
            tier_process("cloud", toml.text(cloud), folder),
            tier_process("edge", toml.text(edge), folder),
        ]
        here = Broker(host=broker.host, port=broker.port)
        listener = Listener(here, topics.event(CONTEXT.device, CONTEXT.camera))

        def count(_topic: str, payload: bytes, _properties: Properties) -> None:
            try:
                stats = EdgeStats.from_json(payload)
            except PayloadError:
                return
            asked = stats.counters.get('aiflow_escalations_total{reason="confidence"}', 0)
            streamed = stats.counters.get("aiflow_escalations_streamed_total", 0)
            counted[0] = streamed / max(asked, 1)

        listener.session.subscribe(topics.edge_stats("bench"), 0, count)
        stack.enter_context(listener)
        listener.session.wait_connected(START_S)
        listener.session.announce(
            topics.descriptor(CONTEXT.device, CONTEXT.camera), _descriptor(bundle).to_json()
        )
        stack.callback(stop_all, list(reversed(children)))
        for child in children:
            child.start()

        def share() -> float:
            time.sleep(1.5)  # until the next statistics
            return counted[0]

        yield listener, (broker.child, *children), share


def table(figures: Mapping[str, Any]) -> str:
    """Both ways beside each other, link by link."""
    rows = [
        ("link to the cloud", "draft", "answered p50, s", "against whole, ms (95 %)", "streamed")
    ]
    for row in figures["rows"]:
        low, high = row["saved_ms_interval"]
        rows.append(
            (
                row["link"],
                row["drafts"],
                f"{row['answered_p50_s']:.4f}",
                ""
                if row["drafts"] == "whole"
                else f"{-row['saved_ms_median']:+.1f} ({-high:+.1f} to {-low:+.1f})",
                f"{row['streamed_share']:.0%}",
            )
        )
    return markdown(rows)


def _row(link: str, way: Drafts, one: Run, whole: Run, seed: int) -> dict[str, Any]:
    """`saved_ms` is of the same scene, whole draft against this way, the median of all scenes."""
    saved = 1e3 * (np.array(whole.seconds) - np.array(one.seconds))
    rng = np.random.default_rng(seed)
    drawn = saved[rng.integers(0, len(saved), (RESAMPLED, len(saved)))]
    return {
        "link": link,
        "drafts": way,
        "frames": len(one.seconds),
        "answered_p50_s": round(float(np.median(one.seconds)), 5),
        "answered_p95_s": round(float(np.quantile(one.seconds, 0.95)), 5),
        "saved_ms_median": round(float(np.median(saved)), 3),
        "saved_ms_interval": interval(np.median(drawn, axis=1)),
        "streamed_share": round(one.streamed_share, 3),
        "identical": one.identical / len(one.seconds),
    }


def _descriptor(bundle: Bundle) -> Descriptor:
    return Descriptor(
        device=CONTEXT.device,
        camera=CONTEXT.camera,
        bundle=bundle.id,
        bundle_name=bundle.manifest.name,
        tokens=bundle.tokens,
        dims=bundle.dims,
        levels=bundle.levels,
        layers=bundle.layers,
        epoch_ms=CONTEXT.epoch_ms,
        width=640,
        height=480,
        mode="cascade",
        synthetic=True,
        software=__version__,
    )


def _payload(bundle: Bundle, one: Doubted, sequence: int) -> bytes:
    body = compress(one.symbols, bundle.tables, layers=len(bundle.layers))
    now_ms = round(1e3 * time.time()) - CONTEXT.epoch_ms
    packet = Packet(Kind.KEY, bundle.tag, sequence, now_ms, body, 0, len(bundle.layers))
    return pack(packet, CONTEXT)


def _answer(
    listener: Listener, children: Sequence[Child], sequence: int, timeout_s: float
) -> str | None:
    """The cloud's caption of a frame; None if there is none in time."""
    until = time.monotonic() + timeout_s
    while (left_s := until - time.monotonic()) > 0:
        caption = listener.next(min(left_s, POLL_S))
        if caption is not None and caption.sequence == sequence and caption.tier == "cloud":
            return caption.text
        check_all(children)
    return None
