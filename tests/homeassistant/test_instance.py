"""A Home Assistant that runs, a real Mosquitto, a device and an edge node as processes.

One instance for all tests, as it is what takes longest to put up; each leaves it as it found it.
"""

from __future__ import annotations

import contextlib
import math
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aiflow.cli.main import run
from aiflow.common.bundle import built_in
from aiflow.common.config import Broker
from aiflow.common.messages import Caption
from aiflow.common.mqtt import Properties, Session
from aiflow.common.topics import Topics
from aiflow.device.entities import PLATFORMS, describe
from aiflow.rig.broker import PrivateBroker
from aiflow.rig.child import stop_all
from aiflow.rig.tiers import Plan, tier_process, tier_processes

if TYPE_CHECKING:
    from tests.homeassistant.conftest import Instance

NewInstance = Callable[[Path], "Instance"]
Until = Callable[[Callable[[], object], Callable[[], object]], None]

SHOWN = {leaf for leaf in PLATFORMS if leaf not in {"latency", "uplink"}}
"""The others are there, and switched off until somebody wants them."""


def entity(leaf: str, device: str = "gate_pi", camera: str = "yard") -> str:
    return f"{PLATFORMS[leaf]}.{device}_{camera}_{leaf}"


class House:
    """All that is there."""

    def __init__(self, folder: Path, instance: Instance, until: Until) -> None:
        self.folder = folder
        self.instance = instance
        self.until = until
        self.broker = PrivateBroker()
        self.broker.start()
        self.plan = Plan(
            broker=Broker(port=self.broker.port),
            device_broker=Broker(port=self.broker.port),
            uri="synthetic:street?seed=7",
            fps=4.0,
            mode="split",
            device="gate-pi",
            camera="yard",
        )
        self.tiers = tier_processes(self.plan, folder)
        self.config = folder / "device.toml"
        camera = 'name = "yard"\n'
        settings = self.config.read_text().replace(camera, f"{camera}snapshot_every_s = 1\n")
        told = f"allow_images = true\n{settings}\n[home_assistant]\nenabled = true\n"
        self.config.write_text(told)
        self.pictures: set[bytes] = set()
        self.captions: dict[tuple[str, str], Caption] = {}
        self._session = Session(self.plan.broker, f"recorder-{secrets.token_hex(4)}")
        self._session.subscribe("aiflow/+/+/event", 1, self._take)
        self._session.subscribe("aiflow/+/+/snapshot", 1, self._see)

    def start(self) -> None:
        self._session.start()
        self.instance.start()
        self.instance.add_broker(self.broker.port)
        for tier in self.tiers.values():
            tier.start()

    def close(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self.broker.close)
            stack.callback(self._session.close, 0)
            stack.callback(stop_all, [*self.tiers.values(), self.instance.child])

    def wait_for(self, states: Mapping[str, str | None]) -> None:
        """Until these entities have these states; None: there is no such entity."""

        def there() -> dict[str, str | None]:
            now = self.instance.states()
            return {name: str(now[name]["state"]) if name in now else None for name in states}

        self.until(lambda: there() == states, lambda: (there(), states, self.logs()))

    def wait_for_caption(self, device: str = "gate_pi", camera: str = "yard") -> Caption:
        """Until one that came over MQTT is what Home Assistant shows, with all its facts."""
        found: list[Caption] = []

        def shown() -> bool:
            state = self.instance.states().get(entity("caption", device, camera))
            if state is None or state["state"] in {"unavailable", "unknown"}:
                return False
            facts: Any = state["attributes"]
            caption = self.captions.get((facts.get("id"), facts.get("type")))
            if caption is None or state["state"] != caption.text[:255]:
                return False
            sent = caption.model_dump(exclude_none=True)
            found.append(caption)
            return all(facts[key] == value for key, value in sent.items())

        self.until(shown, lambda: (self.instance.states(), self.logs()))
        return found[-1]

    def device_is(self, state: str) -> None:
        """Until all that tells of a camera is available, or is not (`unavailable`)."""
        names = [entity(leaf) for leaf in SHOWN]

        def available() -> list[bool]:
            now = self.instance.states()
            return [name in now and now[name]["state"] != "unavailable" for name in names]

        wanted = [state != "unavailable"] * len(names)
        self.until(lambda: available() == wanted, lambda: (available(), self.logs()))

    def logs(self) -> list[str]:
        children = (*self.tiers.values(), self.instance.child)
        return [line for child in children for line in child.last_lines(20)]

    def _take(self, _topic: str, payload: bytes, _properties: Properties) -> None:
        caption = Caption.from_json(payload)
        self.captions[caption.id, caption.type] = caption

    def _see(self, _topic: str, payload: bytes, _properties: Properties) -> None:
        self.pictures.add(payload)


@pytest.fixture(scope="module")
def house(
    new_instance: NewInstance, until: Until, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    if "street" not in built_in():
        pytest.skip("needs the built-in bundle `street`; make it with scripts/train")
    folder = tmp_path_factory.mktemp("house")
    house = House(folder, new_instance(folder / "config"), until)
    try:
        house.start()
        yield house
        assert house.instance.complaints() == []
    finally:
        house.close()


def test_caption_and_what_belongs_to_it_are_shown(house: House) -> None:
    house.wait_for_caption()
    states = house.instance.states()
    ours = {name for name in states if "gate_pi" in name}
    assert ours == {entity(leaf) for leaf in SHOWN}
    assert float(str(states[entity("confidence")]["state"])) <= 100
    assert states[entity("tier")]["state"] == "edge"
    assert states[entity("connection")]["state"] == "on"
    assert states[entity("enabled")]["state"] == "on"
    facts: Any = states[entity("caption")]["attributes"]
    assert facts["friendly_name"] == "gate-pi yard caption"


def test_every_caption_is_an_event(house: House) -> None:
    def told() -> bool:
        facts: Any = house.instance.states()[entity("event")]["attributes"]
        caption = house.captions.get((facts.get("id"), facts.get("event_type")))
        return caption is not None and caption.text == facts["text"]

    house.wait_for_caption()
    house.until(told, house.instance.states)


def test_the_picture_is_the_one_that_the_device_has_sent(house: House) -> None:
    name = entity("snapshot")
    house.until(
        lambda: house.instance.picture(name) in house.pictures,
        lambda: (len(house.pictures), house.instance.state(name), house.logs()),
    )
    assert all(picture[:3] == b"\xff\xd8\xff" for picture in house.pictures)


def test_pictures_that_are_allowed_no_more_disappear(house: House) -> None:
    house.wait_for_caption()
    told = house.config.read_text()
    house.tiers["device"].stop()
    less = told.replace("allow_images = true\n", "").replace("snapshot_every_s = 1\n", "")
    house.config.write_text(less)
    house.tiers["device"].start()
    house.wait_for({entity("snapshot"): None})
    house.pictures.clear()
    house.wait_for_caption()
    assert house.pictures == set()
    house.tiers["device"].stop()
    house.config.write_text(told)
    house.tiers["device"].start()
    house.device_is("available")


def test_automation_of_the_page_is_run_by_a_caption_that_mentions_somebody(house: House) -> None:
    def run_at() -> object:
        facts: Any = house.instance.states()["automation.somebody_is_in_the_yard"]["attributes"]
        return facts["last_triggered"]

    house.until(run_at, lambda: [caption.text for caption in house.captions.values()])
    somebody = re.compile("person|people|pedestrian|child")
    assert any(somebody.search(caption.text) for caption in house.captions.values())


def test_figures_that_are_off_at_first_are_right(house: House) -> None:
    caption = house.wait_for_caption()
    entities = describe(Topics(), "pi", ["yard"], None)
    rendered = {
        leaf: float(
            house.instance.render(
                str(entities[f"yard_{leaf}"]["value_template"]),
                caption.model_dump(exclude_none=True),
            )
        )
        for leaf in ("latency", "uplink", "confidence")
    }
    assert math.isclose(rendered["latency"], caption.latency_s.total)
    assert rendered["uplink"] == caption.bytes.uplink
    assert math.isclose(rendered["confidence"], 100 * caption.confidence, abs_tol=0.051)


def test_switch_turns_the_camera_off_and_on(house: House) -> None:
    house.wait_for_caption()
    house.instance.call("switch/turn_off", entity("enabled"))
    house.wait_for(
        {
            entity("enabled"): "off",
            entity("connection"): "off",
            entity("caption"): "unavailable",
            entity("confidence"): "unavailable",
        }
    )
    house.instance.call("switch/turn_on", entity("enabled"))
    house.wait_for({entity("enabled"): "on", entity("connection"): "on"})
    house.wait_for_caption()


def test_killed_device_makes_all_unavailable_until_it_is_back(house: House) -> None:
    house.wait_for_caption()
    house.tiers["device"].kill()
    house.device_is("unavailable")
    house.tiers["device"].start()
    house.device_is("available")
    house.wait_for_caption()


def test_home_assistant_that_starts_again_finds_everything(house: House) -> None:
    house.wait_for_caption()
    house.instance.child.stop(grace_s=30)
    house.instance.start()
    house.device_is("available")
    house.wait_for_caption()


def test_broker_that_has_forgotten_everything_is_told_again(house: House) -> None:
    house.wait_for_caption()
    house.broker.kill()
    house.device_is("unavailable")
    house.broker.start()
    house.device_is("available")
    house.wait_for_caption()


def test_home_assistant_and_broker_that_both_begin_anew_are_told_again(house: House) -> None:
    house.wait_for_caption()
    house.instance.child.stop(grace_s=30)
    house.broker.kill()
    house.broker.start()
    house.instance.start()
    house.device_is("available")
    house.wait_for_caption()


def test_camera_that_is_no_longer_configured_disappears(house: House) -> None:
    house.wait_for_caption()
    told = house.config.read_text()
    house.tiers["device"].stop()
    house.config.write_text(told.replace('name = "yard"', 'name = "front door"'))
    house.tiers["device"].start()
    house.wait_for({entity(leaf): None for leaf in SHOWN})
    house.wait_for_caption(camera="front_door")
    house.tiers["device"].stop()
    house.config.write_text(told)
    house.tiers["device"].start()
    house.wait_for({entity(leaf, camera="front_door"): None for leaf in SHOWN})
    house.wait_for_caption()


def test_device_that_is_removed_disappears_and_comes_back_with_its_next_start(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    house.wait_for_caption()
    house.tiers["device"].stop()
    assert run(["homeassistant", "remove", "--config", str(house.config)]) == 0
    assert capsys.readouterr().out == "cleared homeassistant/device/aiflow-gate-pi/config\n"
    house.wait_for({entity(leaf): None for leaf in SHOWN})
    house.tiers["device"].start()
    house.wait_for_caption()


def test_device_takes_itself_out_when_its_configuration_says_so(house: House) -> None:
    house.wait_for_caption()
    told = house.config.read_text()
    house.tiers["device"].stop()
    house.config.write_text(told.replace("enabled = true\n", "enabled = false\n"))
    assert house.config.read_text() != told
    house.tiers["device"].start()
    house.wait_for({entity(leaf): None for leaf in SHOWN})
    house.tiers["device"].stop()
    house.config.write_text(told)
    house.tiers["device"].start()
    house.wait_for_caption()


def test_any_name_will_do_and_nothing_is_left_of_what_was_removed(house: House) -> None:
    text = (
        'device = "Gäste Pi.2"\n'
        f"[broker]\nport = {house.broker.port}\n"
        '[[camera]]\nname = "Höfe 2.links"\nuri = "synthetic:street?seed=3"\nfps = 4.0\n'
        f'[outbox]\npath = "{house.folder / "second.sqlite"}"\n'
        "[home_assistant]\nenabled = true\n"
    )
    folder = house.folder / "second"
    folder.mkdir()
    second = tier_process("device", text, folder)
    try:
        second.start()
        house.wait_for_caption("gaste_pi_2", "hofe_2_links")
    finally:
        second.stop()
    assert run(["homeassistant", "remove", "--config", str(folder / "device.toml")]) == 0
    house.wait_for({entity(leaf, "gaste_pi_2", "hofe_2_links"): None for leaf in SHOWN})
    house.instance.child.stop(grace_s=30)
    assert house.instance.registered() == {
        f"aiflow-gate-pi/yard/{leaf}": None if leaf in SHOWN else "integration"
        for leaf in PLATFORMS
    }
    house.instance.start()
    house.wait_for_caption()
