from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiflow.common.errors import StorageError
from aiflow.common.metrics import Counters
from aiflow.common.wire import Kind
from aiflow.device.outbox import MIGRATIONS, Entry, Outbox, Record

NOW_MS = 1_700_000_000_000
MANY = 1_000_000


def opened(
    path: Path, entries: int = MANY, size: int = MANY, counters: Counters | None = None
) -> Outbox:
    return Outbox(path, max_entries=entries, max_bytes=size, counters=counters or Counters())


def kept(body: bytes) -> Record:
    return Record(Kind.KEY, 40, body, 2)


def put(outbox: Outbox, *payloads: bytes, camera: str = "door") -> list[int]:
    return [outbox.put(camera, kept(payload)).sequence for payload in payloads]


def sequences(outbox: Outbox, camera: str = "door") -> list[int]:
    return [entry.sequence for entry in outbox.after(camera, -1, 1000)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "outbox.sqlite"


@pytest.fixture
def outbox(path: Path) -> Iterator[Outbox]:
    with opened(path) as outbox:
        outbox.begin("door", "x", NOW_MS)
        yield outbox


def test_frames_are_kept_in_the_order_of_their_sequences(outbox: Outbox) -> None:
    entries = [Entry(number, NOW_MS, kept(b"frame %d" % number)) for number in range(2)]
    assert [outbox.put("door", entry.record) for entry in entries] == entries
    assert outbox.after("door", -1, 10) == entries
    assert outbox.after("door", 0, 10) == entries[1:]
    assert outbox.after("door", -1, 1) == entries[:1]
    assert (outbox.entries, outbox.payload_bytes) == (2, 14)


def test_get_finds_exactly_that_frame(outbox: Outbox) -> None:
    put(outbox, b"a", b"b", b"c")
    outbox.remove("door", [1])
    assert outbox.get("door", 1) is None
    assert outbox.get("door", 2) == Entry(2, NOW_MS, kept(b"c"))
    assert outbox.get("door", 3) is None


def test_removal_by_receipt(outbox: Outbox) -> None:
    put(outbox, b"a", b"bb", b"ccc")
    assert outbox.remove("door", [0, 2, 7]) == 2
    assert outbox.remove("door", [0, 2, 7]) == 0
    assert sequences(outbox) == [1]
    assert (outbox.entries, outbox.payload_bytes) == (1, 2)


def test_cameras_count_for_themselves(outbox: Outbox) -> None:
    outbox.begin("yard", "x", NOW_MS)
    assert put(outbox, b"a", b"b") == [0, 1]
    assert put(outbox, b"c", camera="yard") == [0]
    outbox.remove("yard", [0, 1])
    assert sequences(outbox) == [0, 1]


def test_covered_frames_leave_with_the_next_one(outbox: Outbox) -> None:
    put(outbox, b"a", b"b")
    assert outbox.put("door", kept(b"c"), [0, 7]).sequence == 2
    assert sequences(outbox) == [1, 2]
    assert (outbox.entries, outbox.payload_bytes) == (2, 2)


def test_camera_without_a_session(outbox: Outbox) -> None:
    with pytest.raises(StorageError, match="camera yard has no session"):
        outbox.put("yard", kept(b""))


def test_session_goes_on_while_frames_wait(path: Path) -> None:
    with opened(path) as outbox:
        assert outbox.begin("door", "x", NOW_MS).epoch_ms == NOW_MS
        outbox.describe("door", NOW_MS, b"descriptor")
        put(outbox, b"a", b"b")
        outbox.remove("door", [0])
    with opened(path) as outbox:
        state = outbox.begin("door", "x", NOW_MS + 5000)
        assert (state.epoch_ms, state.waiting, state.next_sequence) == (NOW_MS, 1, 2)
        assert outbox.descriptor("door", NOW_MS) == b"descriptor"
        assert put(outbox, b"c") == [2]
        assert outbox.entries == 2


def test_session_is_new_when_nothing_waits(path: Path) -> None:
    with opened(path) as outbox:
        outbox.begin("door", "x", NOW_MS)
        outbox.describe("door", NOW_MS, b"descriptor")
        outbox.remove("door", put(outbox, b"a"))
    with opened(path) as outbox:
        state = outbox.begin("door", "x", NOW_MS + 5000)
        assert (state.epoch_ms, state.waiting) == (NOW_MS + 5000, 0)
        assert outbox.descriptor("door", NOW_MS) is None
        assert put(outbox, b"b") == [1], "a late receipt of the old session covers nothing"


def test_sessions_one_after_the_other_never_share_an_epoch(path: Path) -> None:
    with opened(path) as outbox:
        outbox.begin("door", "x", NOW_MS)
    with opened(path) as outbox:
        assert outbox.begin("door", "x", NOW_MS).epoch_ms == NOW_MS + 1


YEAR_MS = 400 * 86_400_000


def test_a_clock_that_was_ahead_binds_nobody_when_nothing_waits(path: Path) -> None:
    with opened(path) as outbox:
        outbox.begin("door", "x", NOW_MS + YEAR_MS)
        outbox.remove("door", put(outbox, b"a"))
    with opened(path) as outbox:
        assert outbox.begin("door", "x", NOW_MS).epoch_ms == NOW_MS
        assert put(outbox, b"b") == [1]


def test_a_clock_that_was_ahead_binds_only_the_frames_that_wait(path: Path) -> None:
    with opened(path) as outbox:
        outbox.begin("door", "x", NOW_MS + YEAR_MS)
        outbox.describe("door", NOW_MS + YEAR_MS, b"ahead")
        put(outbox, b"a")
    with opened(path) as outbox:
        state = outbox.begin("door", "x", NOW_MS)
        assert (state.epoch_ms, state.waiting) == (NOW_MS, 1)
        put(outbox, b"b")
        assert [one.epoch_ms for one in outbox.after("door", -1, 9)] == [NOW_MS + YEAR_MS, NOW_MS]
        assert outbox.descriptor("door", NOW_MS + YEAR_MS) == b"ahead"
        outbox.remove("door", [0])
        outbox.begin("door", "x", NOW_MS + 1, anew=True)
        assert outbox.descriptor("door", NOW_MS + YEAR_MS) is None, "nobody needs it any more"


def test_frames_of_another_stream_are_dropped_and_counted(
    path: Path, counters: Counters, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(path) as outbox:
        outbox.begin("door", "old bundle", NOW_MS)
        put(outbox, b"a", b"b")
    with opened(path, counters=counters) as outbox:
        state = outbox.begin("door", "new bundle", NOW_MS)
        assert (state.epoch_ms, state.waiting) == (NOW_MS + 1, 0)
        assert outbox.entries == 0
    assert counters.value("aiflow_outbox_dropped_total", reason="stream") == 2
    assert "another bundle, device name or key" in caplog.text


def test_beyond_the_most_entries_the_oldest_go(path: Path, counters: Counters) -> None:
    with opened(path, entries=3, counters=counters) as outbox:
        outbox.begin("door", "x", NOW_MS)
        outbox.begin("yard", "x", NOW_MS)
        put(outbox, b"a")
        put(outbox, b"b", camera="yard")
        put(outbox, b"c", b"d", b"e")
        assert (sequences(outbox), sequences(outbox, "yard")) == ([1, 2, 3], [])
        assert outbox.entries == 3
    assert counters.value("aiflow_outbox_dropped_total", reason="entries") == 2


def test_beyond_the_most_bytes_the_oldest_go(path: Path, counters: Counters) -> None:
    with opened(path, size=10, counters=counters) as outbox:
        outbox.begin("door", "x", NOW_MS)
        put(outbox, b"12345", b"12345", b"123")
        assert (sequences(outbox), outbox.payload_bytes) == ([1, 2], 8)
        put(outbox, b"longer than all")
        assert sequences(outbox) == [3], "the newest one stays"
    assert counters.value("aiflow_outbox_dropped_total", reason="bytes") == 3


def test_one_process_at_a_time(outbox: Outbox, path: Path) -> None:
    with pytest.raises(StorageError, match=r"outbox\.sqlite is in use by another process"):
        opened(path)
    outbox.close()
    opened(path).close()


def test_file_that_is_no_outbox_is_moved_aside(
    path: Path, counters: Counters, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(b"rubbish" * 1000)
    with opened(path, counters=counters) as outbox:
        outbox.begin("door", "x", NOW_MS)
        assert put(outbox, b"a") == [0]
    assert path.with_name("outbox.sqlite.corrupt-1").read_bytes() == b"rubbish" * 1000
    assert counters.value("aiflow_outbox_corrupt_total") == 1
    assert "moved to outbox.sqlite.corrupt-1, a new one begins" in caplog.text
    assert "Traceback" not in caplog.text


def test_damaged_outbox_is_moved_aside(path: Path, counters: Counters) -> None:
    with opened(path) as outbox:
        outbox.begin("door", "x", NOW_MS)
        put(outbox, *[os.urandom(3000) for _ in range(20)])
    content = bytearray(path.read_bytes())
    content[8192:24576] = os.urandom(16384)
    path.write_bytes(content)
    with opened(path, counters=counters) as outbox:
        assert outbox.entries == 0
    assert counters.value("aiflow_outbox_corrupt_total") == 1


def test_outbox_of_a_newer_version_is_refused_and_kept(path: Path, counters: Counters) -> None:
    with opened(path) as outbox:
        outbox.begin("door", "x", NOW_MS)
        put(outbox, b"a")
    version(path, 99)
    with pytest.raises(StorageError, match="is of version 99, and this software knows 2 at most"):
        opened(path, counters=counters)
    assert counters.value("aiflow_outbox_corrupt_total") == 0
    version(path, 2)
    with opened(path) as outbox:
        assert outbox.begin("door", "x", NOW_MS).waiting == 1


def test_outbox_of_an_older_version_goes_on(path: Path) -> None:
    path.parent.mkdir()
    database = sqlite3.connect(path)
    database.executescript(MIGRATIONS[0] + ";PRAGMA user_version = 1")
    with database:
        database.execute("INSERT INTO streams VALUES ('door', 'x', ?, 8, x'01')", (NOW_MS,))
        database.execute("INSERT INTO entries VALUES (1, 'door', 7, x'1234')")
    database.close()
    with opened(path) as outbox:
        state = outbox.begin("door", "x", NOW_MS + 1)
        assert (state.epoch_ms, state.waiting, state.next_sequence) == (NOW_MS, 1, 8)
        assert outbox.descriptor("door", NOW_MS) == b"\x01"
        packed = Record(None, 0, b"\x12\x34")
        assert outbox.after("door", -1, 9) == [Entry(7, NOW_MS, packed)]


def version(path: Path, number: int) -> None:
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {number}")
    database.close()


def test_damage_in_use_is_noticed(path: Path) -> None:
    with opened(path) as outbox:
        outbox.begin("door", "x", NOW_MS)
        put(outbox, *[os.urandom(3000) for _ in range(20)])
    with opened(path) as outbox:
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(path.stat().st_size - 4096))
        outbox._file._database.execute("PRAGMA shrink_memory")  # read it from the disk again
        assert not outbox.damaged
        with pytest.raises(StorageError, match=r"malformed|not a database"):
            outbox.after("door", -1, 1000)
        assert outbox.damaged


def test_full_disk_is_one_sentence_and_passes(outbox: Outbox) -> None:
    put(outbox, b"a")
    outbox._file._database.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StorageError, match="no space left on the disk"):
        put(outbox, *[bytes(4000)] * 20)
    stored = sequences(outbox)
    assert outbox.entries == len(stored)
    outbox._file._database.execute("PRAGMA max_page_count = 1000000")
    assert put(outbox, b"b") == [stored[-1] + 1]
    assert not outbox.damaged


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot be created: (Not a directory|File exists)"):
        opened(tmp_path / "file" / "outbox.sqlite")


def test_file_that_cannot_be_opened_sends_to_the_doctor(tmp_path: Path) -> None:
    (tmp_path / "outbox.sqlite").mkdir()
    words = "outbox.sqlite cannot be opened: unable to open database file; see `aiflow doctor dev"
    with pytest.raises(StorageError, match=words):
        opened(tmp_path / "outbox.sqlite")


def test_threads_take_turns(outbox: Outbox) -> None:
    def fill() -> None:
        for _ in range(10):
            put(outbox, b"a")

    threads = [threading.Thread(target=fill) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sequences(outbox) == list(range(40))


CHILD = """
import sys
from pathlib import Path
from aiflow.common.metrics import Counters
from aiflow.common.wire import Kind
from aiflow.device.outbox import Outbox, Record
outbox = Outbox(Path(sys.argv[1]), max_entries=10**6, max_bytes=10**9, counters=Counters())
outbox.begin("door", "x", int(sys.argv[2]))
while True:
    entry = outbox.put("door", Record(Kind.KEY, 0, b"frame"))
    print(entry.sequence, flush=True)
    if entry.sequence % 3 == 0:
        outbox.remove("door", [entry.sequence])
"""


def test_killed_process_loses_nothing_that_it_accepted(path: Path) -> None:
    accepted: list[int] = []
    for round_ in range(3):
        command = [sys.executable, "-c", CHILD, str(path), str(NOW_MS + round_)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            accepted += [int(child.stdout.readline()) for _ in range(20 + 7 * round_)]
            child.send_signal(signal.SIGKILL)
            accepted += [int(line) for line in child.stdout if line.endswith("\n")]
    assert accepted == sorted(set(accepted)), "a sequence was used twice"
    with opened(path) as outbox:
        state = outbox.begin("door", "x", NOW_MS + 9)
        assert state.epoch_ms == NOW_MS
        stored = outbox.after("door", -1, 100_000)
        assert {one for one in accepted if one % 3} <= {entry.sequence for entry in stored}
        assert all(entry.record.body == b"frame" for entry in stored)
        assert put(outbox, b"next")[0] > accepted[-1]
