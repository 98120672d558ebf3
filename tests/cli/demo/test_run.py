from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from aiflow.cli.demo import run as demo_module
from aiflow.cli.demo.run import DemoOptions, demo
from aiflow.common.errors import AiflowError
from aiflow.common.messages import Caption
from aiflow.rig.system import SystemOptions
from aiflow.rig.truth import Truth

CaptionMaker = Callable[..., Caption]
OPTIONS = SystemOptions(camera="synthetic:street", fps=100.0, seed=1)


class FakeCaptions:
    """Gives captions, then None; each call takes as long as a test can spare."""

    def __init__(self, captions: Iterable[Caption | BaseException]) -> None:
        self._captions = iter(captions)

    def next(self, _timeout_s: float) -> Caption | None:
        given = next(self._captions, None)
        if isinstance(given, BaseException):
            raise given
        return given


@dataclass
class FakeSystem:
    captions: FakeCaptions
    truth: object | None = None
    states: list[str] = field(default_factory=list)
    route: str = "here -> there"
    link: object = field(default_factory=lambda: SimpleNamespace(up_bytes=120, down_bytes=30))
    plan: object = field(default_factory=lambda: SimpleNamespace(fps=100.0))
    children: tuple[object, ...] = ()

    def check(self) -> None:
        pass

    @property
    def switch(self) -> object:
        return SimpleNamespace(turn=self.states.append)


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, FakeSystem]]:
    """Run the demo on these captions; what it printed, and the system."""
    monkeypatch.setattr(demo_module, "FIRST_CAPTION_S", 0.05)
    monkeypatch.setattr(demo_module, "STILL_S", 0.0)
    monkeypatch.setattr(demo_module, "SETTLE_S", 0.02)
    monkeypatch.setattr(demo_module, "MAX_SETTLE_S", 0.1)

    def run(
        captions: Iterable[Caption | BaseException],
        *,
        frames: int = 3,
        forever: bool = False,
        json_path: Path | None = None,
        **of_system: object,
    ) -> tuple[str, FakeSystem]:
        system = FakeSystem(FakeCaptions(captions), **of_system)  # type: ignore[arg-type]

        @contextmanager
        def running(_options: SystemOptions) -> Iterator[FakeSystem]:
            yield system

        stream = io.StringIO()
        monkeypatch.setattr(demo_module, "running", running)
        monkeypatch.setattr("sys.stdout", stream)
        demo(DemoOptions(OPTIONS, frames, forever, json_path))
        return stream.getvalue(), system

    return run


Play = Callable[..., tuple[str, FakeSystem]]


def test_captions_are_numbered_and_an_update_has_its_frames_number(
    play: Play, make_caption: CaptionMaker
) -> None:
    update = make_caption(1, tier="cloud", update=True, text="a blue van stands on the right")
    out, system = play([make_caption(0), make_caption(1), update, make_caption(2)])
    lines = out.splitlines()
    assert lines[0] == "here -> there"
    assert [line.split()[:2] for line in lines[2:6]] == [
        ["1", "edge"],
        ["2", "edge"],
        ["2", "cloud"],
        ["3", "edge"],
    ]
    assert lines[6].startswith("3 captions: 2 edge, 1 cloud | ")
    assert "| 40 B a frame" in lines[6]
    assert system.states == ["OFF"]


def test_updates_in_flight_are_awaited_and_later_frames_left_out(
    play: Play, make_caption: CaptionMaker
) -> None:
    captions = [make_caption(n) for n in range(4)]
    update = make_caption(2, tier="cloud", update=True)
    out, _ = play([*captions, update])
    assert out.splitlines()[-1].startswith("3 captions: 2 edge, 1 cloud | ")


def test_a_caption_that_was_overtaken_is_awaited(play: Play, make_caption: CaptionMaker) -> None:
    out, _ = play([make_caption(n) for n in (0, 2, 3, 1)])
    assert out.splitlines()[-1].startswith("4 captions: 4 edge | ")


def test_a_missing_caption_is_a_fault_after_the_summary(
    play: Play, make_caption: CaptionMaker, tmp_path: Path
) -> None:
    path = tmp_path / "run.json"
    with pytest.raises(AiflowError, match=r"1 captions of 4 are missing .*sequence 1\)"):
        play([make_caption(n) for n in (0, 2, 3)], json_path=path)
    assert json.loads(path.read_text())["summary"]["captions"] == 3


def test_silence_is_a_fault_with_the_last_words_of_every_process(play: Play) -> None:
    device = SimpleNamespace(name="device", last_lines=lambda _count: ["no camera"])
    with pytest.raises(AiflowError) as raised:
        play([], children=(device,))
    assert "no caption came" in str(raised.value)
    assert "device's log ends: no camera" in str(raised.value)


def test_a_camera_that_stands_still_is_a_fault(play: Play, make_caption: CaptionMaker) -> None:
    with pytest.raises(AiflowError, match="only 2 of 3 captions came"):
        play([make_caption(0), make_caption(1)])


def test_forever_ends_with_a_summary(play: Play, make_caption: CaptionMaker) -> None:
    captions = [*(make_caption(n) for n in range(5)), KeyboardInterrupt()]
    out, _ = play(captions, forever=True)
    assert out.splitlines()[-1].startswith("5 captions: 5 edge | ")


def test_ctrl_c_before_the_end_is_passed_on(play: Play, make_caption: CaptionMaker) -> None:
    with pytest.raises(KeyboardInterrupt):
        play([make_caption(0), KeyboardInterrupt()])


def test_json_has_the_latest_captions_all_events_and_the_summary(
    play: Play, make_caption: CaptionMaker, tmp_path: Path
) -> None:
    path = tmp_path / "run.json"
    update = make_caption(1, tier="cloud", update=True)
    play([make_caption(0), make_caption(1), update, make_caption(2)], json_path=path)
    run = json.loads(path.read_text())
    assert [caption["tier"] for caption in run["captions"]] == ["edge", "cloud", "edge"]
    assert [event["type"] for event in run["events"]] == ["new", "new", "update", "new"]
    assert Caption.model_validate_json(json.dumps(run["captions"][1])) == update
    assert run["summary"]["uplink_bytes_mean"] == 40
    assert run["link_bytes"] == {"up": 120, "down": 30}
    assert run["options"]["seed"] == 1


def test_truth_that_comes_after_the_caption_still_counts(
    play: Play, make_caption: CaptionMaker, tmp_path: Path
) -> None:
    class LateTruth:
        asked = 0

        def at(self, _timestamp_s: float) -> Truth | None:
            self.asked += 1
            return Truth(frozenset(), 20_000) if self.asked > 3 else None

    path = tmp_path / "run.json"
    play([make_caption(n) for n in range(3)], json_path=path, truth=LateTruth())
    assert json.loads(path.read_text())["summary"]["jpeg_bytes_mean"] == 20_000
