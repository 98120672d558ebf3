"""Captions of a broker, handed from the network thread to a program's own loop."""

from __future__ import annotations

from collections.abc import Callable

from aiflow.client import Broker, Captions
from aiflow.client.captions import _Seen
from aiflow.client.subscription import MAX_WAITING
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
    captions = Captions(Broker())
    for sequence in (1, 2):
        captions._take("topic", make_caption(sequence).to_json(), Properties())
    assert [captions.next(0.0), captions.next(0.0)] == [make_caption(1), make_caption(2)]
    assert captions.next(0.0) is None


def test_what_is_no_caption_is_counted(make_caption: CaptionMaker) -> None:
    captions = Captions(Broker())
    captions._take("topic", b"{", Properties())
    captions._take("topic", b"", Properties())  # a retained one was cleared
    assert (captions.skipped, captions.next(0.0)) == ({"malformed": 1}, None)


def test_a_command_that_does_not_keep_up_loses_captions_and_knows_how_many(
    make_caption: CaptionMaker,
) -> None:
    captions = Captions(Broker())
    payload = make_caption(1).to_json()
    for _ in range(MAX_WAITING + 3):
        captions._take("topic", payload, Properties())
    assert captions.skipped == {"too_slow": 3}
