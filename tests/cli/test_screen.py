from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from aiflow.cli.screen import (
    DEMO_HEAD,
    WATCH_HEAD,
    Screen,
    confidence_style,
    duration,
    printable,
    shortened,
)
from aiflow.common.messages import Caption

CaptionMaker = Callable[..., Caption]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    "seconds, words",
    [
        (0.0214, "21 ms"),
        (0.0, "0 ms"),
        (-0.003, "-3 ms"),
        (1.2345, "1,234 ms"),
        (9.9994, "9,999 ms"),
        (12.34, "12.3 s"),
        (900.0, "15 min"),
    ],
)
def test_a_duration_is_short(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_columns_of_the_demo_stand_under_their_heads(make_caption: CaptionMaker) -> None:
    stream = io.StringIO()
    Screen(stream).numbered(12, make_caption(total_s=0.021, uplink=34), 31_204)
    row = stream.getvalue().rstrip("\n")
    assert row == " 12  edge    0.97     21 ms     34  31,204  a red bus waits on the left"
    for head, cell in (("#", "12"), ("conf", "0.97"), ("latency", "21 ms"), ("bytes", "34")):
        assert DEMO_HEAD.index(head) + len(head) == row.index(cell) + len(cell)
    for head, cell in (("tier", "edge"), ("caption", "a red bus")):
        assert DEMO_HEAD.index(head) == row.index(cell)
    assert DEMO_HEAD.index("jpeg") + 4 == row.index("31,204") + 6


def test_columns_of_watch_stand_under_their_heads(make_caption: CaptionMaker) -> None:
    stream = io.StringIO()
    Screen(stream).dated(make_caption(total_s=0.021, uplink=34))
    row = stream.getvalue().rstrip("\n")
    for head, cell in (("camera", "demo/street"), ("tier", "edge"), ("caption", "a red bus")):
        assert WATCH_HEAD.index(head) == row.index(cell)
    for head, cell in (("latency", "21 ms"), ("bytes", "34")):
        assert WATCH_HEAD.index(head) + len(head) == row.rindex(cell) + len(cell)


def test_a_frame_without_a_jpeg_says_so(make_caption: CaptionMaker) -> None:
    stream = io.StringIO()
    Screen(stream).numbered(1, make_caption(), None)
    assert "     -  a red bus" in stream.getvalue()


def test_nothing_but_text_goes_to_a_file(make_caption: CaptionMaker) -> None:
    stream = io.StringIO()
    screen = Screen(stream)
    screen.line("head", style="bold")
    screen.numbered(1, make_caption(), 1)
    assert "\x1b" not in stream.getvalue()


def test_tiers_are_coloured_and_long_captions_wrapped_on_a_terminal(
    make_caption: CaptionMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    Screen(stream).numbered(1, make_caption(tier="cloud", text="a red bus waits " * 6), 31_204)
    lines = stream.getvalue().splitlines()
    assert "\x1b[36mcloud" in lines[0]
    assert len(lines) > 2
    assert all(line.startswith(" " * 44) for line in lines[1:])
    assert all(len(line) <= 80 for line in lines[1:])


def test_what_comes_by_mqtt_cannot_steer_a_terminal(make_caption: CaptionMaker) -> None:
    stream = io.StringIO()
    Screen(stream).numbered(1, make_caption(text="a\x1b[2J\nbus\x00"), 1)
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()
    assert printable("a\tb\r\nc\x9b") == "a b c\N{REPLACEMENT CHARACTER}"


def test_the_event_of_a_trigger_says_which_one(make_caption: CaptionMaker) -> None:
    stream = io.StringIO()
    fired = {"type": "trigger", "trigger": "bus\x1b"}
    Screen(stream).dated(make_caption().model_copy(update=fired))
    told = "  [bus\N{REPLACEMENT CHARACTER}] a red bus waits on the left\n"
    assert stream.getvalue().endswith(told)


def test_a_long_name_is_shortened() -> None:
    assert shortened("porch", 5) == "porch"
    assert shortened("porches", 5) == "porc\N{HORIZONTAL ELLIPSIS}"


def test_what_is_doubtful_stands_out() -> None:
    assert [confidence_style(sure) for sure in (0.49, 0.5, 0.8)] == ["red", "yellow", ""]
