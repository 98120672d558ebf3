from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from aiflow.common.messages import Caption, Descriptor, DeviceStats, EdgeStats
from aiflow.common.topics import Topics
from aiflow.edge.dashboard.board import Board, filters
from aiflow.edge.dashboard.lines import MAX_DRAFTS, MAX_LINES, MAX_NAMES, MAX_TRIGGERS
from aiflow.edge.dashboard.places import MAX_CAMERAS, MAX_DEVICES

MakeCaption = Callable[..., Caption]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def board(topics: Topics) -> Board:
    return Board(topics, clock=Clock(), wall=Clock())


def event(board: Board, *captions: Caption) -> None:
    for caption in captions:
        board.take(f"aiflow/{caption.device}/{caption.camera}/event", caption.to_json())


def state(board: Board) -> dict[str, Any]:
    as_sent: dict[str, Any] = json.loads(json.dumps(board.state(connected=True)))
    return as_sent


def describe(board: Board, *, synthetic: bool) -> None:
    descriptor = Descriptor(
        device="pi",
        camera="door",
        bundle="0" * 64,
        bundle_name="toy",
        tokens=1,
        dims=1,
        levels=(5,),
        layers=(1,),
        epoch_ms=0,
        width=640,
        height=480,
        synthetic=synthetic,
        software="test",
    )
    board.take("aiflow/pi/door/descriptor", descriptor.to_json())


def test_a_caption_is_a_line_and_counts(board: Board, caption: MakeCaption) -> None:
    event(board, caption(1))
    (line,) = board.changes()
    assert (line["id"], line["text"], line["tier"]) == ("pi/door/1-1", "a red bus waits", "edge")
    assert line["uplink"] == 30
    assert line["drafts"] == []
    assert board.changes() == []
    assert board.lines() == [line]
    now = state(board)
    assert now["figures"]["total"]["frames"] == 1
    assert now["shares"]["tiers"] == {"edge": 1}
    assert now["shares"]["latency_ms"]["total"] == [20.0, 20.0]
    assert now["places"]["cameras"][0]["frames"] == 1


def fired(caption: Caption, trigger: str) -> Caption:
    return caption.model_copy(update={"type": "trigger", "trigger": trigger})


def test_the_event_of_a_trigger_is_a_mark_of_its_line(board: Board, caption: MakeCaption) -> None:
    event(board, caption(1), caption(2))
    board.changes()
    event(board, fired(caption(1), "bus"), fired(caption(1), "red"), fired(caption(1), "bus"))
    (line,) = board.changes()
    assert (line["id"], line["triggers"]) == ("pi/door/1-1", ["bus", "red"])
    event(board, caption(1, "a white dog", update=True), fired(caption(2), "bus"))
    assert [one["triggers"] for one in board.lines()] == [["bus", "red"], ["bus"]]
    now = state(board)
    assert now["shares"]["triggers"] == {"bus": 2, "red": 1}
    assert now["figures"]["total"]["frames"] == 2, "it is no frame"


def test_a_trigger_without_its_caption_is_no_line(board: Board, caption: MakeCaption) -> None:
    event(board, fired(caption(2), "bus"))
    assert (board.lines(), board.unreadable) == ([], 0)


def test_marks_are_bounded(board: Board, caption: MakeCaption) -> None:
    event(board, *map(caption, range(20)))
    event(board, *(fired(caption(n), f"{n}.{name}") for n in range(20) for name in range(12)))
    lines: Any = board.lines()
    assert {len(line["triggers"]) for line in lines} == {MAX_TRIGGERS}
    assert len(state(board)["shares"]["triggers"]) == MAX_NAMES
    board.changes()
    event(board, fired(caption(1), "one more"))
    assert board.changes() == []


def test_an_update_refines_its_line_in_place(board: Board, caption: MakeCaption) -> None:
    event(board, caption(1), caption(2))
    board.changes()
    better = caption(1, "a white dog", tier="cloud", mode="cascade", update=True, uplink=44)
    event(board, better)
    (line,) = board.changes()
    assert (line["n"], line["text"], line["tier"], line["uplink"]) == (
        1,
        "a white dog",
        "cloud",
        44,
    )
    assert line["drafts"] == [{"tier": "edge", "text": "a red bus waits", "confidence": 0.9}]
    assert [one["n"] for one in board.lines()] == [1, 2]
    now = state(board)
    assert now["figures"]["total"] == {"frames": 2, "uplink": 74, "jpeg": 0, "beside_jpeg": 0}
    assert now["shares"]["tiers"] == {"cloud": 1, "edge": 1}
    assert now["shares"]["modes"] == {"cascade": 1, "split": 1}


def test_the_same_again_changes_nothing(board: Board, caption: MakeCaption) -> None:
    better = caption(1, "a white dog", update=True)
    event(board, caption(1), better)
    board.changes()
    event(board, better, caption(1))
    assert board.changes() == []
    assert state(board)["figures"]["total"]["frames"] == 1


def test_drafts_are_bounded(board: Board, caption: MakeCaption) -> None:
    event(board, caption(1), *(caption(1, f"text {n}", update=True) for n in range(10)))
    (line,) = board.lines()
    assert line["text"] == "text 9"
    drafts: Any = line["drafts"]
    assert [draft["text"] for draft in drafts] == ["text 6", "text 7", "text 8"]
    assert len(drafts) == MAX_DRAFTS


def test_lines_are_bounded_and_the_oldest_go(board: Board, caption: MakeCaption) -> None:
    event(board, *(caption(n) for n in range(MAX_LINES + 5)))
    assert len(board.changes()) == MAX_LINES
    assert board.lines()[0]["id"] == "pi/door/1-5"
    assert state(board)["figures"]["total"]["frames"] == MAX_LINES + 5


def test_a_late_frame_says_nothing_about_latency(board: Board, caption: MakeCaption) -> None:
    event(board, caption(1, total_s=600.0, late=True))
    now = state(board)
    assert now["shares"]["latency_ms"] == {}
    assert now["figures"]["latency_ms"][-1] is None
    assert now["figures"]["total"]["uplink"] == 30


def test_pictures_are_of_synthetic_cameras_only(topics: Topics, caption: MakeCaption) -> None:
    for synthetic, known in ((True, 31_204), (False, None)):
        board = Board(topics, lambda _timestamp: 31_204)
        describe(board, synthetic=synthetic)
        event(board, caption(1))
        (line,) = board.changes()
        assert (line["jpeg"], line["picture"]) == (known, synthetic)
        total = state(board)["figures"]["total"]
        assert (total["jpeg"], total["beside_jpeg"]) == ((known, 30) if known else (0, 0))


def test_who_is_there(board: Board) -> None:
    describe(board, synthetic=False)
    for topic, word in (
        ("pi/available", b"online"),
        ("pi/door/status", b"disabled"),
        ("pi/door/enabled/state", b"OFF"),
        ("edge/edge1/available", b"online"),
    ):
        board.take(f"aiflow/{topic}", word)
    places = state(board)["places"]
    assert places["devices"] == [
        {"name": "pi", "state": "online", "software": None, "waiting": None}
    ]
    (camera,) = places["cameras"]
    assert (camera["state"], camera["enabled"], camera["facts"]["width"]) == (
        "disabled",
        "OFF",
        640,
    )
    assert places["nodes"][0]["state"] == "online"
    assert board.unreadable == 0


def test_who_is_removed_is_gone(board: Board) -> None:
    board.take("aiflow/pi/available", b"online")
    board.take("aiflow/pi/door/status", b"online")
    board.take("aiflow/pi/yard/status", b"online")
    board.take("aiflow/edge/edge1/available", b"online")
    board.take("aiflow/pi/yard/status", b"")
    assert len(state(board)["places"]["cameras"]) == 1
    board.take("aiflow/pi/available", b"")
    board.take("aiflow/edge/edge1/available", b"")
    places = state(board)["places"]
    assert (places["devices"], places["cameras"], places["nodes"]) == ([], [], [])


def test_statistics(board: Board, caption: MakeCaption) -> None:
    event(board, caption(1))
    device = DeviceStats(
        device="pi",
        timestamp=0.0,
        uptime_s=1.0,
        software="0.1",
        values={"outbox_entries": 3},
        cameras={"door": {"encode_ms": 4.0, "status": "online"}, "unheard": {"encode_ms": 1.0}},
    )
    node = EdgeStats(
        node="edge1",
        timestamp=0.0,
        uptime_s=1.0,
        software="0.1",
        values={"cloud_rest_seconds": 2.5},
    )
    board.take("aiflow/pi/stats", device.to_json())
    board.take("aiflow/edge/edge1/stats", node.to_json())
    now = state(board)
    assert now["places"]["devices"][0]["waiting"] == 3
    assert now["places"]["cameras"][0]["stages"] == {"encode": 4.0}
    assert [trouble["where"] for trouble in now["troubles"]] == ["edge1"]


@pytest.mark.parametrize(
    "topic, payload",
    [
        ("pi/door/event", b"no JSON"),
        ("pi/door/event", b'{"id": "x"}'),
        ("pi/door/status", b"sleepy"),
        ("pi/door/enabled/state", b"on"),
        ("pi/door/descriptor", b"[]"),
        ("pi/available", b"\xff\xfe"),
        ("pi/stats", b"{}"),
        ("edge/edge1/available", b"perhaps"),
        ("edge/edge1/stats", b"{}"),
        ("edge/edge1/reply", b"{}"),
        ("pi/door/unheard-of", b"x"),
        ("cloud/default/request", b"x"),
    ],
)
def test_nonsense_is_counted_and_leaves_nothing(board: Board, topic: str, payload: bytes) -> None:
    before = state(board)
    board.take(f"aiflow/{topic}", payload)
    assert state(board) == before | {"unreadable": 1}


def test_nobody_speaks_for_another(board: Board, caption: MakeCaption) -> None:
    board.take("aiflow/other/door/event", caption(1).to_json())
    stats = DeviceStats(device="pi", timestamp=0.0, uptime_s=0.0, software="x")
    board.take("aiflow/other/stats", stats.to_json())
    assert board.unreadable == 2
    assert board.lines() == []


def test_devices_and_cameras_are_bounded(board: Board) -> None:
    for n in range(MAX_CAMERAS + 3):
        board.take(f"aiflow/pi{n % (MAX_DEVICES + 1)}/available", b"online")
        board.take(f"aiflow/pi/camera{n}/status", b"online")
    places = state(board)["places"]
    assert len(places["devices"]) == MAX_DEVICES
    assert len(places["cameras"]) == MAX_CAMERAS
    assert places["unlisted"] > 0


def test_filters_do_not_overlap(topics: Topics) -> None:
    shapes = [tuple(name.split("/")) for name in filters(topics)]
    for index, one in enumerate(shapes):
        for other in shapes[index + 1 :]:
            pairs = zip(one, other, strict=False)
            same = all(a == b or "+" in {a, b} for a, b in pairs)
            assert len(one) != len(other) or not same, (one, other)
