"""A picture of a terminal shows what was printed, and asks nobody for a font."""

from __future__ import annotations

import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

import terminal

PROGRAM = "import sys; print(sys.stdout.isatty(), '\\x1b[32mgreen\\x1b[0m')"


def test_a_command_prints_as_on_a_terminal() -> None:
    assert terminal.printed([sys.executable, "-c", PROGRAM]) == "True \x1b[32mgreen\x1b[0m"


def test_a_command_that_fails_is_no_picture() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        terminal.printed([sys.executable, "-c", "raise SystemExit(3)"])


def test_the_picture_shows_command_and_output_in_its_colours() -> None:
    svg = terminal.drawn(["scripts/demo", "--frames", "2"], "True \x1b[32mgreen\x1b[0m")
    # Parsed here a moment after it was written here: nothing foreign is in it.
    words = " ".join(ET.fromstring(svg).itertext()).replace("\xa0", " ")
    assert "$ scripts/demo --frames 2" in words
    assert "True" in words
    assert "green" in words
    assert "url(http" not in svg
    assert "@import" not in svg
    assert "font-face" not in svg
