from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from aiflow.cli.logs import Format, JournalFormatter, Level, configure

log = logging.getLogger("aiflow.some.part")


def _divide() -> None:
    raise ZeroDivisionError("none\nat all")


def _fail() -> None:
    try:
        _divide()
    except ZeroDivisionError:
        log.exception("two %s", "lines\nof it")


def test_people_get_a_line_with_the_time(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Level.INFO)
    log.debug("unheard")
    log.warning("camera %s is away", "door")
    (line,) = capsys.readouterr().err.splitlines()
    assert line[8:] == " WARNING aiflow.some.part: camera door is away"


def test_json_is_one_object_a_line_with_keys_that_stay(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure(Level.INFO, Format.JSON)
    log.info("ein roter Bus, größer")
    _fail()
    plain, failed = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert list(plain) == ["time", "level", "logger", "thread", "message"]
    assert plain["level"] == "info"
    assert plain["message"] == "ein roter Bus, größer"
    assert datetime.fromisoformat(plain["time"]).utcoffset() is not None
    assert list(failed) == [*plain, "error"]
    assert failed["error"].endswith("ZeroDivisionError: none\nat all")


def test_every_line_for_the_journal_has_its_priority(capsys: pytest.CaptureFixture[str]) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JournalFormatter("%(name)s: %(message)s"))
    logging.basicConfig(level="INFO", handlers=[handler], force=True)
    log.warning("away")
    _fail()
    first, *others = capsys.readouterr().err.splitlines()
    assert first == "<4>aiflow.some.part: away"
    assert len(others) > 3
    assert all(line.startswith("<3>") for line in others)


@pytest.mark.parametrize("matches", [True, False])
def test_the_journal_is_recognized_by_its_stream(matches: bool, tmp_path: Path) -> None:
    path = tmp_path / "stderr"
    with path.open("w") as stream:
        found = os.fstat(stream.fileno())
        inode = found.st_ino + (not matches)
        code = (
            "import logging; from aiflow.cli.logs import Level, configure;"
            "configure(Level.INFO); logging.getLogger('part').error('away')"
        )
        subprocess.run(
            [sys.executable, "-P", "-c", code],
            check=True,
            stderr=stream,
            timeout=30,
            env=os.environ | {"JOURNAL_STREAM": f"{found.st_dev}:{inode}"},
        )
    assert path.read_text().startswith("<3>part: away") is matches


@pytest.mark.parametrize("way", ["option", "variable"])
def test_a_daemon_logs_json_when_asked(way: str, tmp_path: Path) -> None:
    config = tmp_path / "device.toml"
    config.write_text('device = "porch"\nbundle = "none"\n[[camera]]\nname = "door"\nuri = "0"\n')
    done = subprocess.run(
        [sys.executable, "-P", "-m", "aiflow", "device", "--config", str(config)]
        + (["--log-format", "json"] if way == "option" else []),
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        env=os.environ
        | {"AIFLOW_NO_SETTING": "1"}
        | ({"AIFLOW_LOG_FORMAT": "json"} if way == "variable" else {}),
    )
    *logged, complaint = done.stderr.splitlines()
    (line,) = [json.loads(line) for line in logged]
    assert "AIFLOW_NO_SETTING" in line["message"]  # and not the variable of the format
    assert complaint.startswith("aiflow: no bundle 'none'")
