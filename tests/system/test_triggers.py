from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.system.conftest import START_S, wait_until

from aiflow.cli.main import run
from aiflow.common.messages import Caption

if TYPE_CHECKING:
    from tests.system.conftest import System

PLACES = ("town", "park", "harbour", "market", "country", "countryside", "factory")
TRIGGERS = f"""
[[trigger]]
name = "street"
any = {list(PLACES)}
for_s = 0
hold_off_s = 3600
late = true

[[trigger]]
name = "zeppelin"
any = ["zeppelin"]

[[trigger]]
name = "elsewhere"
any = {list(PLACES)}
cameras = ["demo/other"]
"""


def test_a_trigger_fires_once_while_its_condition_holds(system: System) -> None:
    path = system.folder / "edge.toml"
    path.write_text(path.read_text() + TRIGGERS)
    system.configure("edge", "stats_every_s = 1")
    system.mode("cascade")  # captions that a device makes alone would not come by the node
    system.start()
    where = re.compile(rf"\b({'|'.join(PLACES)})\b")

    def placed() -> set[str]:
        """Ids of the frames whose captions say where the street is."""
        return {one.id for one in system.captions() if where.search(one.text)}

    wait_until(lambda: len(placed()) >= 12, START_S, "a dozen captions with a place")
    wait_until(
        lambda: system.edge_counters().get('aiflow_triggers_total{trigger="street"}', 0) > 0,
        START_S,
        "the node counts what it fired",
    )
    events = system.captions()
    (fired,) = [one for one in events if one.type == "trigger"]
    assert fired.trigger == "street"
    first = next(one for one in events if where.search(one.text))
    assert events[events.index(first) + 1] == fired
    assert fired.model_copy(update={"type": first.type, "trigger": None}) == first
    counted = {
        name: count
        for name, count in system.edge_counters().items()
        if name.startswith("aiflow_triggers_total")
    }
    assert counted == {'aiflow_triggers_total{trigger="street"}': 1}
    retained = system.recorder.messages(system.topics.caption("demo", "street"))
    assert {Caption.from_json(one).type for one in retained} <= {"new", "update"}


def test_an_example_is_learned_from_a_camera_and_found_again(system: System) -> None:
    path = system.folder / "edge.toml"
    system.configure("device", "sending = { key_every_s = 2.0 }")  # learning begins in the middle
    system.mode("cascade")
    system.start()
    system.wait_for_captions(1)
    learn = ["trigger", "learn", "view", "--camera", "demo/street", "--config", str(path)]
    assert run([*learn, "--frames", "2"]) == 0
    assert not [one for one in system.captions() if one.type == "trigger"]
    system.child("edge").stop()
    path.write_text(
        f'{path.read_text()}\n[[trigger]]\nname = "again"\nlike = "view"\nsimilarity = 0.5\n'
    )
    system.start("edge")

    def fired() -> list[str | None]:
        return [one.trigger for one in system.captions() if one.type == "trigger"]

    wait_until(lambda: bool(fired()), START_S, "the example is found again")
    system.wait_for_captions(len(system.captioned()) + 8)
    assert fired() == ["again"]
