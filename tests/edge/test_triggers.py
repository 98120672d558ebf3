from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aiflow.common.config import load
from aiflow.common.errors import ConfigError
from aiflow.common.messages import Caption, CaptionBytes, Latency
from aiflow.common.metrics import Counters
from aiflow.common.topics import Topics
from aiflow.edge.config import EdgeConfig, TriggerConfig
from aiflow.edge.custody import Custody
from aiflow.edge.examples import Example
from aiflow.edge.ledger import Ledger
from aiflow.edge.publisher import CaptionContent, EdgeSeconds, Publisher
from aiflow.edge.timers import Timers
from aiflow.edge.triggers import Triggers, pattern

if TYPE_CHECKING:
    from tests.edge.conftest import Clock, FakeCamera, Published

# At once, but where a test is about waiting.
DOG = TriggerConfig(name="dog", any=("dog",), hold_off_s=10, for_s=0)


def said(text: str, **facts: object) -> Caption:
    caption = Caption(
        id="pi/door/1-1",
        device="pi",
        camera="door",
        timestamp=1_000.0,
        type="new",
        text=text,
        confidence=0.9,
        tier="edge",
        mode="split",
        bytes=CaptionBytes(embedding=20, uplink=30),
        latency_s=Latency(total=0.02),
        bundle="0" * 64,
        late=False,
        sequence=1,
    )
    return caption.model_copy(update=facts)


class Watch:
    """Triggers, told what comes and when."""

    def __init__(self, clock: Clock, *configs: TriggerConfig) -> None:
        self.triggers = Triggers(configs, clock)
        self._clock = clock

    def hears(
        self, text: str, after_s: float = 1.0, *, newest: bool = True, **facts: object
    ) -> int:
        """How many triggers fire."""
        self._clock.now += after_s
        return len(self.triggers.take(said(text, **facts), newest=newest))


@pytest.fixture
def watch(clock: Clock) -> Watch:
    return Watch(clock, DOG)


def test_it_fires_once_while_its_condition_holds(watch: Watch) -> None:
    texts = ["a bus", "a dog", "a dog runs", "a dog and a bus"]
    assert [watch.hears(text, 100) for text in texts] == [0, 1, 0, 0]


def test_a_short_gap_belongs_to_the_same_occurrence(watch: Watch) -> None:
    assert watch.hears("a dog") == 1
    assert watch.hears("a bus") == 0
    assert watch.hears("a dog", 9.9) == 0
    assert watch.hears("a bus") == 0
    assert watch.hears("a dog", 9.9) == 0  # each gap counts for itself


def test_after_the_hold_off_it_fires_again(watch: Watch) -> None:
    assert watch.hears("a dog") == 1
    assert watch.hears("a bus") == 0
    assert watch.hears("a tram", 9) == 0
    assert watch.hears("a dog", 1) == 1


def test_without_a_hold_off_each_gap_ends_it(clock: Clock) -> None:
    watch = Watch(clock, DOG.model_copy(update={"hold_off_s": 0.0}))
    texts = ["a dog", "a dog", "a bus", "a dog"]
    assert [watch.hears(text, 0.1) for text in texts] == [1, 0, 0, 1]


def test_cameras_are_apart(watch: Watch) -> None:
    assert watch.hears("a dog") == 1
    assert watch.hears("a dog", camera="yard") == 1
    assert watch.hears("a dog", device="porch") == 1
    assert watch.hears("a dog", camera="yard") == 0


def test_only_the_cameras_that_it_names(clock: Clock) -> None:
    watch = Watch(clock, DOG.model_copy(update={"cameras": ("pi/yard",)}))
    assert watch.hears("a dog") == 0
    assert watch.hears("a dog", camera="yard") == 1


def test_an_update_that_makes_it_true_fires_once(watch: Watch) -> None:
    assert watch.hears("a horse") == 0
    assert watch.hears("a dog", type="update") == 1
    assert watch.hears("a dog", type="update") == 0


def test_an_update_that_makes_it_false_takes_nothing_back(watch: Watch) -> None:
    assert watch.hears("a dog") == 1
    assert watch.hears("a horse", type="update") == 0
    assert watch.hears("a dog") == 0


def test_an_older_frame_may_fire_but_does_not_say_how_things_are_now(watch: Watch) -> None:
    assert watch.hears("a bus") == 0
    assert watch.hears("a dog", type="update", newest=False) == 1
    assert watch.hears("a bus", 9) == 0
    assert watch.hears("a dog", 1) == 1  # false for ten seconds, as far as the newest frames say
    assert watch.hears("a bus", type="update", newest=False) == 0
    assert watch.hears("a dog", 20) == 0


LASTING = DOG.model_copy(update={"for_s": 2.0})


@pytest.fixture
def patient(clock: Clock) -> Callable[..., int]:
    """A trigger that waits for two seconds: says the text of the frame that was captured then."""
    triggers = Triggers([LASTING], clock)

    def says(captured_s: float, text: str, *, newest: bool = True, **facts: object) -> int:
        frame = {"id": f"pi/door/1-{captured_s:g}", "timestamp": 1_000 + captured_s}
        return len(triggers.take(said(text, **frame, **facts), newest=newest))

    return says


@pytest.mark.parametrize(
    "times, texts, fires",
    [
        ((0, 1, 2, 3), "dddd", [0, 0, 1, 0]),  # once, and when it has lasted
        ((0, 1, 2, 3, 4), "ddbdd", [0, 0, 0, 0, 0]),  # one caption without it: from the beginning
        ((0, 1, 2, 3, 4, 5), "dbdddd", [0, 0, 0, 0, 1, 0]),
        ((0, 5), "dd", [0, 1]),  # a still scene: nothing came in between, so nothing changed
        ((0, 5, 10), "dbd", [0, 0, 0]),
        ((9, 1, 2, 3), "dddd", [0, 0, 0, 1]),  # the device's clock was set back
    ],
)
def test_a_condition_may_have_to_last(
    patient: Callable[..., int], times: tuple[float, ...], texts: str, fires: list[int]
) -> None:
    words = {"d": "a dog", "b": "a bus"}
    heard = [patient(at, words[text]) for at, text in zip(times, texts, strict=True)]
    assert heard == fires


def test_unless_told_otherwise_words_have_to_last_a_second_and_likeness_does_not() -> None:
    assert TriggerConfig(name="dog", any=("dog",)).lasting_s == 1
    assert TriggerConfig(name="gate", like="open").lasting_s == 0
    assert TriggerConfig(name="gate", like="open", for_s=3).lasting_s == 3
    assert DOG.lasting_s == 0


def test_an_update_does_not_break_the_run_that_it_makes_whole(patient: Callable[..., int]) -> None:
    assert patient(0, "a dog") == 0
    assert patient(1, "a horse") == 0
    assert patient(1, "a dog", type="update") == 0
    assert patient(2, "a dog") == 1


def test_an_update_that_makes_it_false_breaks_the_run(patient: Callable[..., int]) -> None:
    assert patient(0, "a dog") == 0
    assert patient(1, "a dog") == 0
    assert patient(1, "a horse", type="update") == 0
    assert patient(2, "a dog") == 0
    assert patient(4, "a dog") == 1


def test_older_frames_make_and_break_no_run(patient: Callable[..., int]) -> None:
    assert patient(0, "a dog") == 0
    assert patient(1, "a dog") == 0
    assert patient(0.5, "a horse", type="update", newest=False) == 0
    assert patient(2, "a dog") == 1


def test_while_it_is_under_way_each_caption_keeps_it_so(
    patient: Callable[..., int], clock: Clock
) -> None:
    assert [patient(at, "a dog") for at in (0, 2)] == [0, 1]
    for at in (10, 20, 30):  # each is one caption, and all lie within the hold-off
        clock.now += 5
        assert patient(at, "a bus") == 0
        clock.now += 5
        assert patient(at + 1, "a dog") == 0
    clock.now += 1
    assert patient(40, "a bus") == 0
    clock.now += 10
    assert [patient(at, "a dog") for at in (50, 51, 52)] == [0, 0, 1]


def test_its_own_events_are_no_captions(watch: Watch) -> None:
    assert watch.hears("a dog", type="trigger") == 0
    assert watch.hears("a dog") == 1


def test_late_captions_neither_fire_nor_end_anything_unless_it_says_so(clock: Clock) -> None:
    watch = Watch(clock, DOG, DOG.model_copy(update={"name": "late", "late": True}))
    assert watch.hears("a dog", late=True) == 1
    assert watch.hears("a dog") == 1
    assert watch.hears("a bus", late=True) == 0
    assert watch.hears("a dog", 20) == 1  # of `late`, for which the gap counted


def test_confidence_is_part_of_the_condition(clock: Clock) -> None:
    watch = Watch(clock, DOG.model_copy(update={"min_confidence": 0.8}))
    assert watch.hears("a dog", confidence=0.79) == 0
    assert watch.hears("a dog", confidence=0.8) == 1


@pytest.mark.parametrize(
    "active, at, fires",
    [
        ("22:00-06:00", "21:59", 0),
        ("22:00-06:00", "22:00", 1),
        ("22:00-06:00", "03:00", 1),
        ("22:00-06:00", "06:00", 0),
        ("08:00-17:30", "07:59", 0),
        ("08:00-17:30", "17:29", 1),
        ("08:00-17:30", "17:30", 0),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/New_York"])
def test_hours_are_local(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, zone: str, active: str, at: str, fires: int
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        captured_s = datetime.fromisoformat(f"2026-07-01T{at}").timestamp()
        watch = Watch(clock, DOG.model_copy(update={"active": active}))
        assert watch.hears("a dog", timestamp=captured_s) == fires
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "words, text, found",
    [
        ("dog", "A DOG runs", True),
        ("dog", "two dogs, running", True),
        ("bus", "two buses", True),
        ("dog", "a hotdog stand", False),
        ("dog", "a dogged child", False),
        ("red bus", "a red  bus", True),
        ("red bus", "two red buses", True),
        ("red bus", "a red van and a bus", False),
        ("child", "three children", False),
        ("c++", "a sign with c++ on it", True),
        ("bus.", "a bus!", False),
    ],
)
def test_words_are_found_whole_with_simple_plurals(words: str, text: str, found: bool) -> None:
    assert (pattern(words).search(text) is not None) == found


@pytest.mark.parametrize(
    "text, fires",
    [
        ("at night a pedestrian walks", 1),
        ("at night two children run", 1),
        ("by day a pedestrian walks", 0),
        ("at night a pedestrian walks a dog", 0),
        ("at night a bus waits", 0),
    ],
)
def test_all_any_and_none_together(clock: Clock, text: str, fires: int) -> None:
    person = TriggerConfig(
        name="person",
        all=("night",),
        any=("pedestrian", "child", "children"),
        none=("dog",),
        for_s=0,
    )
    assert Watch(clock, person).hears(text) == fires


@pytest.mark.parametrize(
    "lines, sentence",
    [
        ('name = "dog"', "trigger dog: there is no condition; give all, any, none or like"),
        ('name = "dog"\nany = ["x"]\nlike = "y"', "trigger dog: it goes by words or by like"),
        ('name = "dog"\nlike = "a/b"', "like: 'a/b' is not 1 to 64 letters"),
        ('name = "dog"\nany = [" "]', "trigger dog: there is a blank among its words"),
        ('name = "dog"\nany = ["x"]\ncameras = ["door"]', "trigger dog: 'door' is not device/cam"),
        ('name = "dog"\nany = ["x"]\ncameras = ["edge/x"]', "trigger dog: .*reserved"),
        ('name = "dog"\nany = ["x"]\nactive = "25:00-06:00"', "trigger dog: active is '25:00-06"),
        ('name = "dog"\nany = ["x"]\nactive = "06:00-06:00"', "as in 22:00-06:00"),
        ('name = "dog"\nany = ["x"]\nactive = "at night"', "as in 22:00-06:00"),
        ('name = "a dog"\nany = ["x"]', "'a dog' is not 1 to 64 letters"),
        ('name = "dog"\nanny = ["x"]', r"\[trigger 1\] anny: unknown key; did you mean any"),
        (
            'name = "dog"\nany = ["x"]\n[[trigger]]\nname = "dog"\nany = ["y"]',
            "there are two triggers dog; names must differ",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, lines: str, sentence: str) -> None:
    file = tmp_path / "edge.toml"
    file.write_text(f"[[trigger]]\n{lines}\n")
    with pytest.raises(ConfigError, match=sentence) as fault:
        load(EdgeConfig, file, environ={})
    assert "\n" not in str(fault.value)


def test_likeness_to_an_example_fires_whatever_the_words(clock: Clock) -> None:
    gate = TriggerConfig(name="gate", like="open", similarity=0.9)
    levels, frame = (5, 5), ((0, 0), (4, 4))
    example = Example(
        bundle="0" * 64, device="pi", camera="door", learned=1.0, levels=levels, frames=(frame,)
    )
    triggers = Triggers([gate], clock, {"open": example})
    same, other = np.array(frame, np.uint8), np.array(((2, 2), (2, 2)), np.uint8)
    assert triggers.take(said("nothing"), other) == []
    (begun,) = triggers.take(said("nothing"), same)
    assert begun.trigger == "gate"
    assert triggers.take(said("nothing"), same) == []
    clock.now += 1
    assert triggers.take(said("nothing"), other) == []
    clock.now += 20
    # A caption without symbols, as devices make their own, neither fires nor ends anything.
    assert triggers.take(said("nothing"), None) == []
    assert len(triggers.take(said("nothing"), same)) == 1


def test_every_field_is_described() -> None:
    assert all(field.description for field in TriggerConfig.model_fields.values())


def test_one_occurrence_is_one_event_whoever_comes_first(clock: Clock) -> None:
    triggers, fired = Triggers([DOG], clock), []
    start = threading.Barrier(8)

    def hear() -> None:
        start.wait(30)
        fired.extend(triggers.take(said("a dog")))

    threads = [threading.Thread(target=hear) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(fired) == 1


class Desk:
    """A publisher that looks for dogs."""

    def __init__(self, ledger: Ledger, published: Published, clock: Clock) -> None:
        self.counters = Counters()
        custody = Custody(
            ledger, published, Topics(), Timers(self.counters), self.counters, receipt_every_s=0.5
        )
        self.publisher = Publisher(
            published, Topics(), custody, {}, self.counters, Triggers([DOG], clock)
        )

    def says(self, frame: object, text: str) -> None:
        answer = CaptionContent(text, 0.9, "edge", "split", "because", EdgeSeconds())
        self.publisher.publish(frame, answer)  # type: ignore[arg-type]

    @property
    def counted(self) -> int:
        return self.counters.value("aiflow_triggers_total", trigger="dog")


@pytest.fixture
def desk(tmp_path: Path, published: Published, clock: Clock) -> object:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield Desk(ledger, published, clock)


def test_the_event_repeats_the_caption_and_names_the_trigger(
    desk: Desk, published: Published, camera: FakeCamera
) -> None:
    desk.says(camera.embedding(1), "a bus")
    desk.says(camera.embedding(2), "a dog")
    desk.says(camera.embedding(3), "a dog")
    types = [message.caption.type for message in published.to("/event")]
    assert types == ["new", "new", "trigger", "new"]
    event, caption = published.to("/event")[2], published.to("/event")[1].caption
    assert (event.qos, event.retain) == (1, False)
    assert event.caption.trigger == "dog"
    assert event.caption.model_copy(update={"type": "new", "trigger": None}) == caption
    assert b'"trigger"' not in published.to("/event")[1].payload
    assert [message.caption.type for message in published.to("/caption")] == ["new"] * 3
    assert desk.counted == 1


def test_an_event_that_the_broker_did_not_take_fires_again(
    desk: Desk, published: Published, camera: FakeCamera
) -> None:
    published.holds = True
    desk.says(camera.embedding(1), "a dog")
    published.to("/event")[-1].ack(0x87)
    assert desk.counted == 0
    assert desk.counters.value("aiflow_publish_errors_total", reason="refused") == 1
    published.holds = False
    desk.says(camera.embedding(2), "a dog")
    assert published.to("/event")[-1].caption.type == "trigger"
    assert desk.counted == 1


def test_without_a_connection_nothing_begins(
    desk: Desk, published: Published, camera: FakeCamera
) -> None:
    published.connected = False
    desk.says(camera.embedding(1), "a dog")
    published.connected = True
    desk.says(camera.embedding(1), "a dog")
    assert [message.caption.type for message in published.to("/event")] == ["new", "trigger"]
