from __future__ import annotations

from collections.abc import Callable

from aiflow.cli.listener import MAX_WAITING, Listener
from aiflow.cli.watch import _Seen
from aiflow.common.config import Broker
from aiflow.common.messages import Caption
from aiflow.common.mqtt import Properties

CaptionMaker = Callable[..., Caption]


def test_a_caption_under_two_topics_is_shown_once(make_caption: CaptionMaker) -> None:
    seen = _Seen(10)
    assert not seen.before(make_caption(1))
    assert seen.before(make_caption(1))
    assert not seen.before(make_caption(1, tier="cloud", update=True, text="better"))


def test_what_was_seen_is_remembered_within_bounds(make_caption: CaptionMaker) -> None:
    seen = _Seen(2)
    for sequence in (1, 2, 3):
        assert not seen.before(make_caption(sequence))
    assert seen.before(make_caption(3))
    assert not seen.before(make_caption(1))


def test_captions_are_handed_over_in_order(make_caption: CaptionMaker) -> None:
    listener = Listener(Broker(), "aiflow/+/+/event")
    for sequence in (1, 2):
        listener._take("topic", make_caption(sequence).to_json(), Properties())
    assert [listener.next(0.0), listener.next(0.0)] == [make_caption(1), make_caption(2)]
    assert listener.next(0.0) is None


def test_what_is_no_caption_is_counted(make_caption: CaptionMaker) -> None:
    listener = Listener(Broker(), "aiflow/+/+/event")
    listener._take("topic", b"{", Properties())
    listener._take("topic", b"", Properties())  # a retained one was cleared
    assert (listener.unreadable, listener.next(0.0)) == (1, None)


def test_a_command_that_does_not_keep_up_loses_captions_and_knows_how_many(
    make_caption: CaptionMaker,
) -> None:
    listener = Listener(Broker(), "aiflow/+/+/event")
    payload = make_caption(1).to_json()
    for _ in range(MAX_WAITING + 3):
        listener._take("topic", payload, Properties())
    assert listener.dropped == 3
