"""How good the captions of each system of the case study are, on test scenes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from aiflow.bench.baselines import images
from aiflow.bench.judge import BATCH, Answers, Scores, score
from aiflow.bench.upload import PictureCodec
from aiflow.common.bundle import Bundle
from aiflow.common.captioner import Captioner, Draft, Request
from aiflow.common.encoder import Encoder
from aiflow.rig.render_pool import RenderPool, View

CAMERA_PICTURE: Final = PictureCodec(codec="jpeg", size=(640, 480), quality=75)
CANDIDATES: Final = (
    PictureCodec(codec="webp", size=(96, 72), quality=70),
    PictureCodec(codec="webp", size=(120, 90), quality=55),
    PictureCodec(codec="webp", size=(120, 90), quality=70),
    PictureCodec(codec="avif", size=(160, 120), quality=40),
    PictureCodec(codec="webp", size=(160, 120), quality=55),
    PictureCodec(codec="avif", size=(160, 120), quality=50),
    PictureCodec(codec="webp", size=(160, 120), quality=70),
    PictureCodec(codec="avif", size=(160, 120), quality=60),
    PictureCodec(codec="webp", size=(160, 120), quality=85),
)
"""Small pictures, the strongest ones of `aiflow bench rate`."""
EQUAL: Final = 0.99
"""A picture matches if the captions from it have so much of the CIDEr of ours, and of the F1."""

Say = Callable[[str], None]


@dataclass(slots=True, eq=False)
class TestScenes:
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

    def symbols(self, picture: PictureCodec | None = None) -> NDArray[np.uint8]:
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

    def judge(self, say: Say) -> PictureCodec:
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

    def mean_bytes(self, picture: PictureCodec) -> float:
        """Of some of the scenes."""
        return mean(
            len(images.encode(view.image, picture.codec, picture.size, picture.quality))
            for view in self.views[:32]
        )
