from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from aiflow.common.errors import StorageError
from aiflow.edge.ledger import Ledger
from aiflow.edge.received import FrameKey, StreamKey

DOOR = StreamKey("pi", "door", 100)
GATE = StreamKey("pi", "gate", 100)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.sqlite"


def frames(stream: StreamKey, *sequences: int) -> list[FrameKey]:
    return [FrameKey(stream, sequence) for sequence in sequences]


def rows(path: Path) -> list[tuple[str, int, int]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT camera, first, last FROM captioned").fetchall()


def test_what_is_marked_is_known(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.mark(frames(DOOR, 1, 2, 3) + frames(GATE, 2))
        assert FrameKey(DOOR, 3) in ledger
        assert FrameKey(DOOR, 4) not in ledger
        assert FrameKey(GATE, 2) in ledger
        assert FrameKey(GATE, 1) not in ledger
        assert FrameKey(StreamKey("pi", "door", 101), 1) not in ledger


def test_it_is_known_after_closing_and_opening(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.mark(frames(DOOR, 5, 6))
        ledger.mark(frames(DOOR, 8))
        ledger.mark(frames(DOOR, 7))
    assert rows(path) == [("door", 5, 8)]
    with Ledger(path) as ledger:
        assert [n for n in range(12) if FrameKey(DOOR, n) in ledger] == [5, 6, 7, 8]


def test_a_long_run_is_one_row(path: Path) -> None:
    with Ledger(path) as ledger:
        for sequence in range(200):
            ledger.mark(frames(DOOR, sequence))
    assert rows(path) == [("door", 0, 199)]


def test_newest_is_of_the_session_marked_last(path: Path) -> None:
    earlier_by_its_clock = StreamKey("pi", "door", 50)
    with Ledger(path) as ledger:
        ledger.mark(frames(DOOR, 1, 9, 4))
        assert ledger.newest() == {("pi", "door"): FrameKey(DOOR, 9)}
        ledger.mark(frames(earlier_by_its_clock, 2))
        assert ledger.newest() == {("pi", "door"): FrameKey(earlier_by_its_clock, 2)}


def test_streams_are_bounded(path: Path) -> None:
    sessions = [StreamKey("pi", "door", epoch) for epoch in range(5)]
    with Ledger(path, max_streams=2) as ledger:
        for session in sessions:
            ledger.mark(frames(session, 1))
        assert [FrameKey(session, 1) in ledger for session in sessions] == [False] * 3 + [True] * 2
    assert len(rows(path)) == 2


def test_ranges_are_bounded(path: Path) -> None:
    with Ledger(path, max_ranges=3) as ledger:
        ledger.mark(frames(DOOR, *range(0, 20, 2)))
        assert FrameKey(DOOR, 18) in ledger
        assert FrameKey(DOOR, 0) not in ledger
    assert rows(path) == [("door", 14, 14), ("door", 16, 16), ("door", 18, 18)]


def test_a_second_node_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiflow.edge.ledger.LOCK_WAIT_S", 0.05)
    with Ledger(path), pytest.raises(StorageError, match="in use by another process"):
        Ledger(path)


def test_a_corrupt_file_is_put_aside(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 100)
    with Ledger(path) as ledger:
        ledger.mark(frames(DOOR, 1))
    assert rows(path) == [("door", 1, 1)]
    assert len(list(path.parent.glob("ledger.sqlite.corrupt-*"))) == 1
    assert "is corrupt" in caplog.text


def test_another_version_is_refused_by_name(path: Path) -> None:
    Ledger(path).close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version=7")
    with pytest.raises(StorageError, match="is of version 7"):
        Ledger(path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot be created: (Not a directory|File exists)"):
        Ledger(tmp_path / "file" / "ledger.sqlite")


def test_a_file_that_cannot_be_opened_sends_to_the_doctor(path: Path) -> None:
    path.mkdir(parents=True)
    words = "ledger.sqlite cannot be opened: unable to open database file; see `aiflow doctor edge`"
    with pytest.raises(StorageError, match=words):
        Ledger(path)


def test_a_full_disk_is_one_error_and_memory_still_knows(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger._file._database.execute("PRAGMA max_page_count=3")
        streams = [StreamKey("pi", f"camera-{n}", 1) for n in range(2000)]
        with pytest.raises(
            StorageError, match="no space left on the disk; see `aiflow doctor edge`"
        ):
            ledger.mark([FrameKey(stream, 1) for stream in streams])
        assert FrameKey(streams[0], 1) in ledger
        ledger._file._database.execute("PRAGMA max_page_count=100000")
        ledger.mark([FrameKey(stream, 2) for stream in streams])
    with Ledger(path) as ledger:
        assert FrameKey(streams[0], 1) in ledger  # it was written along


WRITER = """
import sys
from pathlib import Path
from aiflow.edge.received import FrameKey, StreamKey
from aiflow.edge.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
for sequence in range(10**6):
    ledger.mark([FrameKey(StreamKey("pi", "door", 100), sequence)])
    print(sequence, flush=True)
"""


def test_kill_9_loses_no_mark(path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    with writer.stdout as output:
        for _ in range(50):
            output.readline()
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        marked = 49 + len(output.readlines())
    with Ledger(path) as ledger:
        assert all(FrameKey(DOOR, sequence) in ledger for sequence in range(marked))


def test_a_mark_is_quick(path: Path) -> None:
    with Ledger(path) as ledger:
        began = time.perf_counter()
        for sequence in range(200):
            ledger.mark(frames(DOOR, sequence))
        assert (time.perf_counter() - began) / 200 < 0.005
