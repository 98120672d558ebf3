from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

pytest.importorskip("pycocoevalcap", reason="needs the extra bench")

from aiflow.bench.judge import Answers, Judge
from aiflow.common.captioner import Draft, Request
from aiflow.street import splits
from aiflow.street.world import street


class Speaker:
    """Says for a frame, known by its first symbol, what it was told to."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.asked = 0

    def caption(self, batch: Sequence[Request]) -> list[Draft]:
        self.asked += len(batch)
        return [Draft((), self.texts[one.symbols[0, 0]], 1.0) for one in batch]


@pytest.fixture
def answers() -> Answers:
    scenes = [street().sample(splits.rng("test", 3, index)) for index in range(4)]
    return Answers.of(scenes, "test", 3)


def _frames() -> np.ndarray:
    frames = np.zeros((4, 3, 2), np.uint8)
    frames[:, 0, 0] = range(4)
    return frames


def test_a_perfect_caption_has_all_facts(answers: Answers) -> None:
    right = Judge(Speaker([refs[0] for refs in answers.references]), 3).score(_frames(), answers)
    wrong = Judge(Speaker([answers.references[0][0]] * 4), 3).score(_frames(), answers)
    assert right.fact_f1 == 1.0
    assert wrong.fact_f1 < 0.7
    assert right.cider.mean() > 2 * wrong.cider.mean()


def test_each_different_frame_is_captioned_once() -> None:
    speaker = Speaker(["one", "two", "three", "four"])
    judge = Judge(speaker, 2)
    frames = _frames()
    assert judge.texts(frames[[0, 1, 0]]) == ["one", "two", "one"]
    assert judge.texts(frames[[1, 2]]) == ["two", "three"]
    other_tail = frames.copy()
    other_tail[:, 2] = 1  # beyond the tokens that are shown
    judge.texts(other_tail[:3])
    assert speaker.asked == 3


def test_references_belong_to_scenes_not_to_their_number() -> None:
    scenes = [street().sample(splits.rng("test", 3, index)) for index in range(4)]
    more, fewer = Answers.of(scenes, "test", 3), Answers.of(scenes[:2], "test", 3)
    assert list(more.first(2).references) == list(fewer.references)
