"""What the case study measures beside the network: quality of captions, times of parts, a model.

The model is a sum: the parts of a way that a frame takes, one after the other.

    camera + coding on the device + bytes / rate + half a round trip + hops + decoding there

Nothing in it is fitted to the runs that it is held against: every part is measured alone. With the
times of other machines it says what the same ways would take there.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import mean, median
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from aiflow.bench.baselines import images
from aiflow.bench.captions import Scores, score
from aiflow.bench.judge import BATCH, Answers
from aiflow.bench.upload import Picture
from aiflow.common.bundle import Bundle
from aiflow.common.captioner import Captioner, Draft, Request
from aiflow.common.codec import compress
from aiflow.common.config import Broker
from aiflow.common.encoder import Encoder
from aiflow.common.errors import BrokerUnreachable
from aiflow.common.mqtt import Session
from aiflow.rig.broker import PrivateBroker
from aiflow.rig.link import Link, LinkSpec
from aiflow.rig.render_pool import RenderPool, View
from aiflow.street.animation import Street

CAMERA_PICTURE: Final = Picture(codec="jpeg", size=(640, 480), quality=75)
CANDIDATES: Final = (
    Picture(codec="webp", size=(96, 72), quality=70),
    Picture(codec="webp", size=(120, 90), quality=55),
    Picture(codec="webp", size=(120, 90), quality=70),
    Picture(codec="avif", size=(160, 120), quality=40),
    Picture(codec="webp", size=(160, 120), quality=55),
    Picture(codec="avif", size=(160, 120), quality=50),
    Picture(codec="webp", size=(160, 120), quality=70),
    Picture(codec="avif", size=(160, 120), quality=60),
    Picture(codec="webp", size=(160, 120), quality=85),
)
"""Small pictures, the strongest ones of `aiflow bench rate`."""
WAN: Final = LinkSpec(None, 0.03)
"""Between the broker and the cloud."""
EQUAL: Final = 0.99
"""A picture matches if the captions from it have so much of the CIDEr of ours, and of the F1."""
TRIES: Final = 25
QUIET_S: Final = 0.5

Say = Callable[[str], None]


@dataclass(slots=True, eq=False)
class World:
    """Test scenes, and the bundle as the tiers load it."""

    bundle: Bundle
    views: list[View]
    answers: Answers
    encoder: Encoder
    captioners: Mapping[str, Captioner]
    scores: dict[str, Scores] = field(default_factory=dict)
    """By system."""

    @classmethod
    def draw(cls, seed: int, scenes: int) -> Self:
        bundle = Bundle.open("street")
        with RenderPool(seed) as renders:
            views = list(renders.views("test", 0, scenes))
        answers = Answers.of([view.scene for view in views], "test", seed)
        captioners = {tier: Captioner(bundle, tier) for tier in ("nano", "edge", "cloud")}
        return cls(bundle, views, answers, Encoder.load(bundle), captioners)

    def symbols(self, picture: Picture | None = None) -> NDArray[np.uint8]:
        """Of all scenes, seen directly or through a picture that was sent."""
        rows = []
        for view in self.views:
            image = view.image
            if picture is not None:
                data = images.encode(image, picture.codec, picture.size, picture.quality)
                image = images.decode(data)
            rows.append(self.encoder.encode(image).symbols)
        return np.stack(rows)

    def captions(self, tier: str, symbols: NDArray[np.uint8]) -> list[Draft]:
        drafts: list[Draft] = []
        for start in range(0, len(symbols), BATCH):
            batch = [Request(row) for row in symbols[start : start + BATCH]]
            drafts += self.captioners[tier].caption(batch)
        return drafts

    def score(self, drafts: Sequence[Draft]) -> Scores:
        return score([one.text for one in drafts], self.answers.truths, self.answers.references)

    def judge(self, say: Say) -> Picture:
        """Score every system; returns the smallest picture that matches the cascade."""
        ours = self.symbols()
        edge, cloud = self.captions("edge", ours), self.captions("cloud", ours)
        threshold = self.bundle.manifest.escalate_below
        cascade = [
            one if one.confidence >= threshold else other
            for one, other in zip(edge, cloud, strict=True)
        ]
        self.scores["device"] = self.score(self.captions("nano", ours))
        self.scores["split"] = self.score(edge)
        self.scores["cascade"] = self.scores["auto"] = best = self.score(cascade)
        seen = self.symbols(CAMERA_PICTURE)
        for tier in ("edge", "cloud"):
            self.scores[f"{tier}-jpeg"] = self.score(self.captions(tier, seen))
        picture, found = CAMERA_PICTURE, self.scores["cloud-jpeg"]
        for picture in sorted(CANDIDATES, key=self.mean_bytes):
            found = self.score(self.captions("cloud", self.symbols(picture)))
            cider = found.cider.mean() / best.cider.mean()
            f1 = found.fact_f1 / best.fact_f1
            say(f"{picture}: {self.mean_bytes(picture):.0f} B, CIDEr {cider:.3f}, F1 {f1:.3f}")
            if min(cider, f1) >= EQUAL:
                break
        self.scores["cloud-matched"] = found
        return picture

    def mean_bytes(self, picture: Picture) -> float:
        """Of some of the scenes."""
        return mean(
            len(images.encode(view.image, picture.codec, picture.size, picture.quality))
            for view in self.views[:32]
        )


def parts(world: World, matched: Picture, seed: int) -> dict[str, float]:
    """Median seconds of each part alone, on one thread of this machine."""
    bundle, encoder = world.bundle, world.encoder
    street = Street(seed)
    image = street.frame(0.0).image
    symbols = encoder.encode(image).symbols
    (draft,) = world.captioners["edge"].caption([Request(symbols)])
    jpeg, small = (
        images.encode(image, one.codec, one.size, one.quality) for one in (CAMERA_PICTURE, matched)
    )
    works: dict[str, Callable[[int], object]] = {
        "camera": lambda index: street.frame(index / 2),
        "encode": lambda _: encoder.encode(image),
        "compress": lambda _: compress(symbols, bundle.tables),
        "jpeg_code": lambda _: images.encode(
            image, CAMERA_PICTURE.codec, CAMERA_PICTURE.size, CAMERA_PICTURE.quality
        ),
        "jpeg_read": lambda _: images.decode(jpeg),
        "matched_code": lambda _: images.encode(
            image, matched.codec, matched.size, matched.quality
        ),
        "matched_read": lambda _: images.decode(small),
        **{tier: partial(_captioned, one, symbols) for tier, one in world.captioners.items()},
        "verify": lambda _: world.captioners["cloud"].caption([Request(symbols, draft.tokens)]),
    }
    alone = {name: _median_s(work) for name, work in works.items()}
    return alone | {"hop": _hop_s(), "wan": WAN.rtt_s}


def projected_s(system: str, sent_bytes: float, spec: LinkSpec, part: Mapping[str, float]) -> float:
    """What the model says about a system's median latency; `sent_bytes` of a frame up the link."""
    ways: dict[str, tuple[str, ...]] = {
        "device": ("encode", "nano"),
        "split": ("encode", "compress", "edge"),
        "cascade": ("encode", "compress", "edge"),
        "auto": ("encode", "compress", "edge"),
        "edge-jpeg": ("jpeg_code", "jpeg_read", "encode", "edge"),
        "cloud-jpeg": ("jpeg_code", "jpeg_read", "encode", "cloud", "wan"),
        "cloud-matched": ("matched_code", "matched_read", "encode", "cloud", "wan"),
    }
    # From the device to whoever captions, and from there to whoever listens.
    fixed = part["camera"] + 2 * part["hop"]
    return fixed + sum(part[one] for one in ways[system]) + spec.transmission_s(round(sent_bytes))


def _captioned(captioner: Captioner, symbols: NDArray[np.uint8], _index: int) -> object:
    return captioner.caption([Request(symbols)])


def _median_s(work: Callable[[int], object]) -> float:
    took = []
    for index in range(TRIES):
        began = time.perf_counter()
        work(index)
        took.append(time.perf_counter() - began)
    return median(took)


def _hop_s() -> float:
    """From one client to another by way of the broker and an idle relay, median seconds."""
    took: list[float] = []
    with PrivateBroker() as broker, Link(broker.host, broker.port) as link:
        ends = [
            Session(Broker(host=broker.host, port=port), name)
            for name, port in (("from", link.port), ("to", broker.port))
        ]
        arrived = _Arrivals()
        ends[1].subscribe("hop", 0, arrived.take)
        for end in ends:
            end.start()
            end.wait_connected(10.0)
        time.sleep(QUIET_S)  # the subscription is acknowledged
        for _ in range(TRIES):
            began = time.perf_counter()
            ends[0].publish("hop", bytes(40), qos=0)
            took.append(arrived.wait() - began)
        for end in ends:
            end.close(drain_s=0.0)
    return median(took)


class _Arrivals:
    """When messages came."""

    def __init__(self) -> None:
        self._times: queue.Queue[float] = queue.Queue()

    def take(self, *_: object) -> None:
        self._times.put(time.perf_counter())

    def wait(self) -> float:
        try:
            return self._times.get(timeout=10.0)
        except queue.Empty:
            raise BrokerUnreachable("a message did not come through") from None
