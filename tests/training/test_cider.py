from __future__ import annotations

import pytest

from aiflow.training.cider import CiderD

REFERENCES = [
    [("a", "dog", "runs", "in", "the", "grass"), ("a", "brown", "dog", "is", "running")],
    [("two", "men", "ride", "a", "horse"), ("men", "on", "a", "horse", "in", "the", "grass")],
    [("a", "red", "bus", "waits"), ("a", "bus", "stands", "in", "a", "street")],
]
SAID = [("a", "dog", "is", "running", "in", "the", "grass"), ("a", "dog"), ("a", "red", "bus")]


def test_scores_are_those_of_the_published_implementation() -> None:
    published = pytest.importorskip("pycocoevalcap.cider.cider", reason="needs the extra bench")
    gts = {i: [" ".join(r) for r in refs] for i, refs in enumerate(REFERENCES)}
    res = {i: [" ".join(said)] for i, said in enumerate(SAID)}
    _, theirs = published.Cider().compute_score(gts, res)
    judge = CiderD(REFERENCES)
    assert [judge.score(i, said) for i, said in enumerate(SAID)] == pytest.approx(list(theirs))


def test_nothing_right_is_nothing() -> None:
    judge = CiderD(REFERENCES)
    assert judge.score(0, ("purple", "zebras")) == 0
    assert judge.score(0, ()) == 0
    assert judge.score(0, REFERENCES[0][0]) > judge.score(1, REFERENCES[0][0])
