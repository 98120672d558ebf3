"""Captions as lines: columns aligned, coloured by tier on a terminal, plain elsewhere.

 #  tier    conf  latency  bytes    jpeg  caption
12  edge    0.97    21 ms     34  31,204  on a rainy night a red bus waits on the left

What comes by MQTT is not trusted: control characters never reach the terminal.
"""

from __future__ import annotations

import textwrap
from datetime import datetime
from typing import TYPE_CHECKING, Final, TextIO

from aiflow.common.messages import Caption

if TYPE_CHECKING:
    from rich.console import Console

TIER_STYLES: Final = {"device": "yellow", "edge": "green", "cloud": "cyan"}
TYPE_STYLES: Final = {"new": "", "update": "italic", "trigger": "bold magenta"}
DOUBTFUL: Final = 0.5
SURE: Final = 0.8
DEMO_HEAD: Final = "  #  tier    conf   latency  bytes    jpeg  caption"
WATCH_HEAD: Final = "time      camera                tier    conf   latency  bytes  caption"
_CAMERA_WIDTH: Final = 20
_NARROWEST_TEXT: Final = 24


class Screen:
    """Writes lines to a stream; rich is loaded only when that is a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._console: Console | None = None
        if stream.isatty():
            from rich.console import Console  # noqa: PLC0415  only a terminal pays for it

            self._console = Console(file=stream, highlight=False, markup=False, emoji=False)

    def line(self, text: str = "", style: str = "") -> None:
        """One line of our own text."""
        if self._console is None:
            self._stream.write(f"{text}\n")
            self._stream.flush()
        else:
            self._console.print(text, style=style or None, soft_wrap=True)

    def numbered(self, number: int, caption: Caption, jpeg_bytes: int | None) -> None:
        """A caption of the demo; a later one of the same frame has the same number."""
        jpeg = "-" if jpeg_bytes is None else f"{jpeg_bytes:,}"
        self._caption(f"{number:3}", caption, f"{caption.bytes.uplink:5,}  {jpeg:>6}")

    def dated(self, caption: Caption) -> None:
        """A caption of any camera."""
        when = datetime.fromtimestamp(caption.timestamp).astimezone()
        camera = shortened(f"{caption.device}/{caption.camera}", _CAMERA_WIDTH)
        lead = f"{when:%H:%M:%S}  {printable(camera):{_CAMERA_WIDTH}}"
        self._caption(lead, caption, f"{caption.bytes.uplink:5,}")

    def _caption(self, lead: str, caption: Caption, sizes: str) -> None:
        tier = f"{caption.tier:6}"
        sure = f"{caption.confidence:.2f}"
        figures = f"{duration(caption.latency_s.total):>8}  {sizes}"
        found = "" if caption.trigger is None else f"[{caption.trigger}] "
        text = printable(found + caption.text)
        if self._console is None:
            self._stream.write(f"{lead}  {tier}  {sure}  {figures}  {text}\n")
            self._stream.flush()
            return
        indent = len(lead) + len(tier) + len(sure) + len(figures) + 8
        width = max(self._console.width - indent, _NARROWEST_TEXT)
        first, *others = textwrap.wrap(text, width) or [""]
        style = TYPE_STYLES[caption.type]
        self._part(f"{lead}  ", "dim")
        self._part(f"{tier}  ", TIER_STYLES[caption.tier])
        self._part(f"{sure}  ", confidence_style(caption.confidence))
        self._part(f"{figures}  ", "dim")
        self._part(f"{first}\n", style)
        for other in others:
            self._part(f"{' ' * indent}{other}\n", style)

    def _part(self, text: str, style: str) -> None:
        if self._console is not None:
            self._console.print(text, style=style or None, end="", soft_wrap=True)


def confidence_style(confidence: float) -> str:
    """So that what is doubtful stands out."""
    return "red" if confidence < DOUBTFUL else "yellow" if confidence < SURE else ""


def duration(seconds: float) -> str:
    """A latency, short: `21 ms`, `12.4 s`, `15 min`."""
    if abs(seconds) < 9.9995:
        return f"{seconds * 1e3:,.0f} ms"
    if abs(seconds) < 600:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:,.0f} min"


def printable(text: str) -> str:
    """`text` on one line, control characters replaced."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for character in " ".join(text.split())
    )


def shortened(text: str, width: int) -> str:
    """`text`, cut to `width` characters."""
    return text if len(text) <= width else f"{text[: width - 1]}\N{HORIZONTAL ELLIPSIS}"
