"""Runs a command on a terminal and draws what it printed there, in its colours, as an SVG.

    python docs/site/terminal.py docs/images/demo.svg scripts/demo --frames 12

`scripts/docs --pictures` does so for the README. The picture loads no font from elsewhere: it takes
whatever fixed-width one the reader has, each line stretched to the width that the grid gives it.
"""

from __future__ import annotations

import fcntl
import os
import pty
import shlex
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

COLUMNS: Final = 118
ROWS: Final = 50
FORMAT: Final = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
    font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
    font-size: {char_height}px;
    line-height: {line_height}px;
}}
.{unique_id}-title {{ font-family: system-ui, sans-serif; font-size: 18px; font-weight: bold; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def printed(command: list[str]) -> str:
    """What the command writes to a terminal of COLUMNS x ROWS, with its control sequences.

    Raises CalledProcessError when it fails.
    """
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    with subprocess.Popen(
        command, stdout=its, env=environment, stdin=subprocess.DEVNULL
    ) as process:
        os.close(its)
        parts = []
        while part := _read(ours):
            parts.append(part)
    os.close(ours)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return b"".join(parts).decode().replace("\r\n", "\n").rstrip()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # EIO: whoever wrote there has gone
        return b""


def drawn(command: list[str], output: str) -> str:
    """The SVG: the command as it was typed, and below it what it printed."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(
            record=True, file=nowhere, width=COLUMNS, force_terminal=True, color_system="truecolor"
        )
        console.print(Text(f"$ {shlex.join(command)}", style="bold"))
        console.print(Text.from_ansi(output))
    return console.export_svg(title="", theme=MONOKAI, code_format=FORMAT, unique_id="demo")


def main() -> None:
    """Draw into the file that is named first what the rest of the line does."""
    picture, command = Path(sys.argv[1]), sys.argv[2:]
    picture.write_text(drawn(command, printed(command)), encoding="utf-8")
    print(f"docs: drew {picture}")


if __name__ == "__main__":
    main()
