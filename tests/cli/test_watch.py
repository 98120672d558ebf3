from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from aiflow.cli.listener import MAX_WAITING, Listener
from aiflow.cli.main import run
from aiflow.cli.watch import Wanted, _Seen
from aiflow.common.config import Broker
from aiflow.common.messages import Caption
from aiflow.common.mqtt import Properties, Session

if TYPE_CHECKING:
    from tests.conftest import Mosquitto

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


@pytest.mark.parametrize(
    "wanted, shown",
    [
        (Wanted(), True),
        (Wanted(tier="edge"), True),
        (Wanted(tier="cloud"), False),
        (Wanted(words=("RED bus", "left")), True),
        (Wanted(words=("red bus", "right")), False),
        (Wanted(min_confidence=0.97), True),
        (Wanted(min_confidence=0.98), False),
    ],
)
def test_filters_go_by_what_a_caption_says(
    wanted: Wanted, shown: bool, make_caption: CaptionMaker
) -> None:
    assert (make_caption() in wanted) is shown


def test_only_what_is_wanted_is_shown_and_counted(
    mosquitto: Mosquitto, make_caption: CaptionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    session = Session(Broker(port=mosquitto.port), "teller")
    session.start()
    session.wait_connected(10.0)
    # Retained, so that all are there when watching begins.
    for camera, tier in (("one", "edge"), ("two", "cloud"), ("three", "cloud")):
        caption = make_caption(tier=tier, device=camera)
        topic = f"aiflow/{camera}/street/caption"
        assert session.publish(topic, caption.to_json(), qos=1, retain=True)
    session.close(drain_s=10.0)
    broker = f"mqtt://127.0.0.1:{mosquitto.port}"
    assert run(["watch", "--broker", broker, "--tier", "cloud", "--count", "2", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["device"] for line in lines} == {"two", "three"}
