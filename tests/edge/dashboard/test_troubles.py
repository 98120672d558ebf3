from __future__ import annotations

from typing import Any

from aiflow.edge.dashboard.places import Places
from aiflow.edge.dashboard.troubles import KEPT_S, MAX_NEWS, MAX_SOURCES, Troubles

MAC = 'aiflow_payload_errors_total{reason="mac"}'


def told(troubles: Troubles, places: Places | None = None, at: float = 0.0) -> list[Any]:
    return [
        (one["level"], one["where"], one["what"])
        for one in troubles.to_json(places or Places(), at, connected=True)
    ]


def test_the_first_counters_are_no_news_and_what_grows_is() -> None:
    troubles = Troubles()
    troubles.counted("edge1", {MAC: 7, "aiflow_captions_total": 3}, 0.0)
    assert told(troubles) == []
    troubles.counted("edge1", {MAC: 9, "aiflow_captions_total": 300}, 60.0)
    assert told(troubles, at=60.0) == [("alarm", "edge1", "payloads were refused (mac), 2 times")]


def test_a_daemon_that_began_anew_counts_from_zero() -> None:
    troubles = Troubles()
    troubles.counted("pi", {"aiflow_camera_stalls_total": 5}, 0.0)
    troubles.counted("pi", {"aiflow_camera_stalls_total": 1}, 60.0)
    assert told(troubles) == [("alarm", "pi", "a camera delivered nothing for a while, once")]


def test_cameras_that_freeze_or_die_are_told() -> None:
    troubles = Troubles()
    troubles.counted("pi", {"aiflow_camera_frozen_total": 0, "aiflow_camera_deaths_total": 0}, 0.0)
    troubles.counted("pi", {"aiflow_camera_frozen_total": 1, "aiflow_camera_deaths_total": 2}, 1.0)
    assert told(troubles) == [
        ("alarm", "pi", "the process of a camera died, 2 times"),
        ("alarm", "pi", "a camera's view stayed the same to the bit, once"),
    ]


def test_news_ends_after_an_hour_and_is_bounded() -> None:
    troubles = Troubles()
    for n in range(2 * MAX_NEWS):
        troubles.counted("pi", {MAC: n}, float(n))
    assert len(told(troubles, at=100.0)) == MAX_NEWS
    assert told(troubles, at=100.0 + KEPT_S) == []


def test_daemons_beyond_the_bound_are_not_remembered() -> None:
    troubles = Troubles()
    for n in range(MAX_SOURCES + 10):
        troubles.counted(f"pi{n}", {MAC: 1}, 0.0)
    assert len(troubles._counters) == MAX_SOURCES


def test_states_that_are_not_as_they_should_be() -> None:
    places = Places()
    places.device("a").state = "offline"
    places.camera("a", "door").state = "offline"  # told by its device already
    places.device("b").state = "online"
    places.device("b").waiting = 1_000
    places.camera("b", "door").state = "offline"
    places.camera("b", "yard").state = "disabled"  # as its owner wants it
    places.node("edge1").cloud_rest_s = 3.0
    places.node("edge2").state = "offline"
    assert told(Troubles(), places) == [
        ("notice", "edge1", "the cloud does not answer; captions stay the edge's"),
        ("alarm", "edge2", "edge node offline"),
        ("alarm", "a", "device offline"),
        ("notice", "b", "1,000 frames wait in its outbox"),
        ("alarm", "b/door", "camera offline"),
    ]


def test_without_a_broker_only_that_is_known() -> None:
    places = Places()
    places.device("a").state = "offline"
    (only,) = Troubles().to_json(places, 0.0, connected=False)
    assert only["where"] == "broker"
