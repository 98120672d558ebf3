"""Who captions: as the owner says, and the device by itself while the network is away."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.system.conftest import START_S, wait_until
from tests.system.test_custody import settle

from aiflow.common.messages import Caption
from aiflow.common.wire import Kind, kind_of

if TYPE_CHECKING:
    from tests.system.conftest import System


def of_tier(system: System, tier: str, after: float = 0.0) -> list[Caption]:
    """Captions of frames captured after a time."""
    return [one for one in system.captions() if one.tier == tier and one.timestamp > after]


def test_in_mode_device_the_edge_only_passes_on(system: System) -> None:
    system.mode("device")
    system.start()
    system.wait_for_captions(3)
    for caption in system.captions():
        assert (caption.tier, caption.mode, caption.type) == ("device", "device", "new")
        assert caption.reason == "captioned on the device: its mode is device"
        assert 0 < caption.confidence <= 1
        assert len(caption.text.split()) > 3
    assert "aiflow/cloud/demo/request" not in system.recorder.topics()


def test_in_mode_split_the_cloud_is_never_asked(system: System) -> None:
    system.mode("split")
    system.configure("edge", "threshold = 1.0")
    system.start()
    system.wait_for_captions(3)
    assert {caption.tier for caption in system.captions()} == {"edge"}
    assert all("mode is split" in caption.reason for caption in system.captions())
    assert "aiflow/cloud/demo/request" not in system.recorder.topics()


def test_the_device_captions_while_the_link_is_cut_and_goes_back_after(system: System) -> None:
    system.configure("device", "fallback = { offline_s = 0.3, return_s = 1.0 }")
    system.start("device", "edge")
    system.wait_for_captions(5)
    cut_at = time.time()
    system.link.cut(reset=True)
    log = system.folder / "device.log"
    wait_until(
        lambda: log.read_text().count("captioned on the device") > 0, START_S, "the device says so"
    )
    assert time.time() - cut_at < 5
    time.sleep(1.0)
    healed_at = time.time()
    system.link.heal()
    wait_until(lambda: bool(of_tier(system, "device", cut_at)), START_S, "what it had said")
    alone = of_tier(system, "device", cut_at)
    assert all(caption.timestamp < healed_at + START_S for caption in alone)
    assert "no connection to the broker" in alone[0].reason
    wait_until(lambda: bool(of_tier(system, "edge", healed_at)), START_S, "the edge captions again")
    wait_until(lambda: "within reach again" in log.read_text(), START_S, "the device says so")


def test_a_link_that_falls_silent_is_noticed_by_the_answers_that_do_not_come(
    system: System,
) -> None:
    system.start("device", "edge")
    system.wait_for_captions(5)
    cut_at = time.time()
    system.link.cut()
    log = system.folder / "device.log"
    wait_until(
        lambda: "no answer from the broker" in log.read_text(), START_S, "the device says so"
    )
    wait_until(lambda: " (0." in log.read_text(), START_S, "and captions by itself")
    healed_at = time.time()
    system.link.heal()
    wait_until(lambda: bool(of_tier(system, "edge", healed_at)), START_S, "the edge captions again")
    first = min(of_tier(system, "device", cut_at), key=lambda one: one.timestamp)
    assert first.timestamp - cut_at < 4, "far sooner than by the receipts that do not come"
    assert "no answer from the broker" in first.reason


def test_a_device_without_an_edge_node_publishes_by_itself(system: System) -> None:
    system.mode("device")
    system.start("device")
    system.wait_for_captions(3)
    for caption in system.captions():
        assert (caption.tier, caption.mode, caption.type) == ("device", "device", "new")
        assert caption.latency_s.total > 0
    latest = system.recorder.last("aiflow/demo/street/caption")
    assert latest is not None
    accepted = settle(system)
    assert system.captioned() == accepted
    system.start("edge")
    time.sleep(1.0)
    firsts = [caption.id for caption in system.captions()]
    assert len(firsts) == len(accepted), "the edge node has nothing to add"


def test_in_mode_image_the_edge_captions_pictures(system: System) -> None:
    system.mode("image")
    system.configure("device", "allow_images = true")
    system.configure("edge", "threshold = 1.0")
    system.start()
    system.wait_for_captions(3)
    wait_until(
        lambda: any(caption.tier == "cloud" for caption in system.captions()), START_S, "the cloud"
    )
    first = system.captions()[0]
    assert (first.tier, first.mode) == ("edge", "image")
    assert first.bytes.embedding > 5_000
    pictures = system.recorder.messages("aiflow/demo/street/image")
    assert all(kind_of(payload) == Kind.IMAGE for payload in pictures)
    assert all(len(one) < 1000 for one in system.recorder.messages("aiflow/cloud/demo/request"))
    assert not system.recorder.messages("aiflow/demo/street/embedding")


def test_pixels_stay_where_they_are_unless_the_owner_lets_them_go(system: System) -> None:
    system.mode("image")
    system.start("device")
    device = system.child("device")
    wait_until(lambda: not device.running, START_S, "the device refuses")
    assert device.returncode == 2
    assert "allow_images = true" in (system.folder / "device.log").read_text()


def test_a_device_that_sends_one_layer_is_asked_for_the_other(system: System) -> None:
    system.mode("split")
    system.configure("device", "layers = 1")
    system.configure("edge", "threshold = 1.0")
    system.start("device", "edge")
    wait_until(
        lambda: any(caption.type == "update" for caption in system.captions()), START_S, "updates"
    )
    (update, *_) = (caption for caption in system.captions() if caption.type == "update")
    new = next(caption for caption in system.captions() if caption.id == update.id)
    assert (new.type, update.tier) == ("new", "edge")
    assert "asked the device for more" in new.reason
