from __future__ import annotations

from aiflow.edge.pace import LOOK_AGAIN, TRIALS, Pace


def asked(pace: Pace, count: int, *, whole_s: float, streamed_s: float) -> list[bool]:
    """So many questions, each answered after the time of its kind; which were streamed."""
    ways = []
    for _ in range(count):
        streamed = pace.streams()
        pace.answered(streamed_s if streamed else whole_s, streamed=streamed)
        ways.append(streamed)
    return ways


def test_both_ways_are_tried_first() -> None:
    ways = asked(Pace("auto"), 2 * TRIALS, whole_s=0.1, streamed_s=0.2)
    assert ways.count(True) == ways.count(False) == TRIALS


def test_the_quicker_way_is_taken_and_the_other_looked_at_now_and_then() -> None:
    for whole_s, streamed_s, better in ((0.1, 0.05, True), (0.1, 0.2, False), (0.1, 0.098, False)):
        pace = Pace("auto")
        asked(pace, 2 * TRIALS, whole_s=whole_s, streamed_s=streamed_s)
        ways = asked(pace, 4 * LOOK_AGAIN, whole_s=whole_s, streamed_s=streamed_s)
        assert ways.count(not better) == 4
        assert pace.seconds(streamed=better) == (streamed_s if better else whole_s)


def test_a_link_that_changes_changes_the_way() -> None:
    pace = Pace("auto")
    asked(pace, 2 * TRIALS, whole_s=0.1, streamed_s=0.05)
    asked(pace, 6 * LOOK_AGAIN, whole_s=0.1, streamed_s=0.4)
    assert asked(pace, LOOK_AGAIN, whole_s=0.1, streamed_s=0.4).count(True) == 1


def test_an_owner_may_choose() -> None:
    for drafts, streamed in (("whole", False), ("streamed", True)):
        pace = Pace(drafts)  # type: ignore[arg-type]
        assert asked(pace, 20, whole_s=0.1, streamed_s=0.1) == [streamed] * 20
