"""What the documents tell people to type works: every command is run here, or named with its test.

A command of a shell block is one of three: run here as it stands (RUN), run by another test
(TESTED), or below a comment `<!-- needs: … -->` that says what it would take. Anything else fails.
"""

from __future__ import annotations

import re
import select
import shutil
import time
from typing import TYPE_CHECKING, Final

import pytest

import commands
from commands import ROOT, SHELL, CodeBlock

if TYPE_CHECKING:
    from tests.docs.conftest import Site

PATIENCE_S: Final = 60.0
LOOK_S: Final = 1.5
"""How long a command that runs until it is stopped is watched, if it says nothing,"""
AFTER_S: Final = 0.3
"""and for how long once it has said something."""

ONCE, ENDLESS, DAEMON = "runs to its end", "runs until it is stopped", "is one of the site's"
RUN: Final = (
    (r"aiflow (device|edge|cloud) +--config \w+\.toml", DAEMON),
    (r"AIFLOW_\w+=.* aiflow (device|edge)", ENDLESS),
    (r"aiflow edge .*--log-format json .*", ENDLESS),
    (r"aiflow watch.*", ENDLESS),
    (r"mosquitto_sub .* -C 1", ONCE),
    (r"mosquitto_sub .*", ENDLESS),
    (r"mosquitto_pub .*", ONCE),
    (r"curl -s http://127\.0\.0\.1:9462/metrics.*", ONCE),
    (r"(sudo )?aiflow doctor.*", ONCE),
    (r"aiflow trigger learn .*", ONCE),
    (r"aiflow homeassistant remove .*", ONCE),
    (r"aiflow (bundle|--).*", ONCE),
    (r"aiflow bench", ONCE),
    (r"scripts/demo --mode \w+", ONCE),
    (r"\(umask 077 && openssl .*\)", ONCE),
    (r"head -c 32 /dev/urandom .*", ONCE),
)
_DEMO = "tests/system/test_demo.py::"
_BENCH = "tests/bench/test_"
TESTED: Final = (
    (
        r"scripts/demo( --json demo.json)?",
        _DEMO + "test_the_demo_shows_thirty_captions_and_what_they_cost",
        "Demo(",
    ),
    (
        r"scripts/demo --forever",
        _DEMO + "test_forever_ends_by_ctrl_c_with_its_summary",
        "--forever",
    ),
    (r"scripts/test", ".ci/run", "scripts/test"),
    (r"scripts/setup( --extras bench)?", ".ci/run", "scripts/setup --rtsp --extras train,bench"),
    (
        r"scripts/train (street|street --install|tiny)",
        "tests/training/test_run.py::bundle",
        "street.make",
    ),
    (r"aiflow enroll .*", "tests/cli/enroll/test_run.py", "security.md"),
    (r"aiflow bench quality .*", _BENCH + "quality.py::figures", "quality.run("),
    (
        r"aiflow bench rate .*",
        _BENCH + "rate.py::test_the_figures_have_the_names_that_they_are_known_by",
        "rate.measure(",
    ),
    (r"aiflow bench case-study .*", _BENCH + "case_study.py::test_a_short_run", "observe("),
    (
        r"aiflow bench cooperation .*",
        _BENCH + "cooperation.py::test_on_a_handful_of_scenes_the_cloud_keeps_its_own_captions",
        "cooperation.run(",
    ),
    (r"aiflow bench device .*", _BENCH + "device.py::test_a_short_run", "device.run("),
    (
        r"aiflow bench triggers .*",
        _BENCH + "triggers.py::test_on_a_live_street_what_happens_is_found",
        "triggers.run(",
    ),
)
"""Pattern of the command, the test (or script) that runs it, and how that mentions it."""


def _each() -> dict[str, CodeBlock]:
    """Every command of the shell blocks once, with the first block that has it."""
    found: dict[str, CodeBlock] = {}
    for block in commands.blocks(*SHELL):
        for command in block.commands():
            if block.needs is None:
                found.setdefault(command, block)
    return found


EACH: Final = _each()


def _way(command: str) -> str | None:
    """How it is run here; None if it is not."""
    return next((way for pattern, way in RUN if re.fullmatch(pattern, command)), None)


def test_commands_are_found() -> None:
    assert {"scripts/demo", "aiflow watch", "aiflow edge --config edge.toml"} <= set(EACH)
    assert any(block.needs for block in commands.blocks(*SHELL))


def test_every_command_is_run_or_says_what_it_needs() -> None:
    elsewhere = [pattern for pattern, _, _ in TESTED]
    loose = [
        f"{block.page}:{block.line}: {command}"
        for command, block in EACH.items()
        if _way(command) is None and not any(re.fullmatch(one, command) for one in elsewhere)
    ]
    assert not loose, "run it in RUN, name its test in TESTED, or write <!-- needs: … --> above"


@pytest.mark.parametrize("pattern, where, mention", TESTED)
def test_what_is_said_to_be_tested_is(pattern: str, where: str, mention: str) -> None:
    assert any(re.fullmatch(pattern, command) for command in EACH), "no document says that any more"
    path, _, name = where.partition("::")
    text = (ROOT / path).read_text(encoding="utf-8")
    if name:
        assert f"\ndef {name}(" in text, f"there is no {where}"
        text = text.split(f"\ndef {name}(")[1].split("\n\n\n")[0]
    assert mention in text


@pytest.mark.parametrize("command", [one for one in EACH if _way(one) == ONCE])
def test_it_runs_to_its_end(site: Site, command: str) -> None:
    _needs_programs(command)
    process = site.start(command)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, (command, out, err)


@pytest.mark.parametrize("command", [one for one in EACH if _way(one) == ENDLESS])
def test_it_runs_until_it_is_stopped(site: Site, command: str) -> None:
    _needs_programs(command)
    beside = {} if re.match("aiflow watch|mosquitto", command) else site.aside()
    process = site.start(command, **beside)
    assert process.stdout is not None
    if select.select([process.stdout], [], [], LOOK_S)[0]:
        time.sleep(AFTER_S)
    ended = process.poll()
    out, err = site.end(process)
    assert ended is None, (command, out, err)
    assert "aiflow: " not in err


@pytest.mark.parametrize("command", [one for one in EACH if _way(one) == DAEMON])
def test_it_is_one_of_the_daemons_that_caption(site: Site, command: str) -> None:
    tier = command.split()[1]
    assert site.daemons[tier].poll() is None, site.log(tier)


def _needs_programs(command: str) -> None:
    for program in ("mosquitto_sub", "mosquitto_pub", "jq", "curl", "openssl"):
        if re.search(rf"\b{program}\b", command) and shutil.which(program) is None:
            pytest.skip(f"needs {program}")
