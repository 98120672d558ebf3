from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from aiflow.cli.main import run
from aiflow.cli.watch import Wanted
from aiflow.common.config import Broker
from aiflow.common.messages import Caption
from aiflow.common.mqtt import Outgoing, Session

if TYPE_CHECKING:
    from tests.conftest import Mosquitto

CaptionMaker = Callable[..., Caption]


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
        assert session.publish(Outgoing(topic, caption.to_json(), qos=1, retain=True))
    session.close(drain_s=10.0)
    broker = f"mqtt://127.0.0.1:{mosquitto.port}"
    assert run(["watch", "--broker", broker, "--tier", "cloud", "--count", "2", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["device"] for line in lines} == {"two", "three"}
