from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aiflow.common.errors import AiflowError
from aiflow.rig.child import Child, check_all, stop_all

PATIENT = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {PATIENT}"


def child(tmp_path: Path, code: str, name: str = "worker") -> Child:
    return Child(name, [sys.executable, "-c", code], tmp_path / f"{name}.log")


def until_up(one: Child) -> None:
    deadline = time.monotonic() + 10.0
    while not one.last_lines():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Has it ended? One that nobody has waited for yet (a zombie) has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_stop_is_gentle_first(tmp_path: Path) -> None:
    with child(tmp_path, PATIENT) as one:
        until_up(one)
        assert one.running
        assert os.getpgid(one.pid) == one.pid != os.getpgid(0)
        assert one.stop() == -signal.SIGTERM
    assert gone(one.pid)


def test_stop_kills_what_does_not_listen_and_all_that_it_started(tmp_path: Path) -> None:
    command = f"[sys.executable, '-c', {STUBBORN!r}]"
    one = child(
        tmp_path,
        f"import subprocess, sys; below = subprocess.Popen({command}, stdout=subprocess.PIPE);"
        "below.stdout.readline(); print(below.pid, flush=True); below.wait()",
    )
    one.start()
    until_up(one)
    grandchild = int(one.last_lines()[0])
    assert one.stop(grace_s=0.2) == -signal.SIGTERM
    deadline = time.monotonic() + 5.0
    while not gone(grandchild) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert gone(grandchild)


def test_children_are_stopped_together(tmp_path: Path) -> None:
    children = [child(tmp_path, STUBBORN, f"stubborn{i}") for i in range(2)]
    children.append(child(tmp_path, PATIENT, "patient"))
    for one in children:
        one.start()
    for one in children:
        until_up(one)
    began = time.monotonic()
    stop_all(children, grace_s=0.3)
    assert time.monotonic() - began < 2.0
    assert [one.returncode for one in children] == [-9, -9, -15]


def test_a_child_can_be_started_again_and_its_log_goes_on(tmp_path: Path) -> None:
    one = child(tmp_path, "print('here')")
    for _ in range(2):
        one.start()
        assert one.wait(10.0) == 0
    assert one.last_lines() == ["here", "here"]


def test_the_fault_of_a_child_that_ended_shows_its_last_words(tmp_path: Path) -> None:
    one = child(tmp_path, "import sys; sys.exit('no camera at /dev/video7')", "device")
    one.start()
    one.wait(10.0)
    with pytest.raises(AiflowError) as raised:
        check_all([one])
    assert str(raised.value) == (
        "device ended by itself with status 1; its log ends:\n    no camera at /dev/video7"
    )
    one.kill()  # nothing to do
    assert one.returncode == 1


def test_a_child_that_runs_is_no_fault(tmp_path: Path) -> None:
    with child(tmp_path, PATIENT) as one:
        check_all([one])
        one.kill()
        with pytest.raises(AiflowError, match="was ended by SIGKILL"):
            check_all([one])


PARENT = """
import sys, threading, time
from pathlib import Path
from aiflow.rig.broker import PrivateBroker
from aiflow.rig.child import Child
children = [
    Child(f"child {number}", [sys.executable, "-c", code], Path(f"{sys.argv[1]}-{number}"))
    for number, code in enumerate(sys.argv[2:])
]
for child in children:
    starter = threading.Thread(target=child.start)
    starter.start()
    starter.join()
    while not child.last_lines():
        time.sleep(0.01)
with PrivateBroker() as broker:
    print(broker.child.pid, *(child.pid for child in children), flush=True)
    time.sleep(120)
"""


def test_broker_and_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    """Whether they listen to SIGTERM or not; the threads that started them have ended before."""
    command = [sys.executable, "-c", PARENT, str(tmp_path / "log"), PATIENT, STUBBORN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert not any(map(gone, pids))
        parent.kill()
    assert len(pids) == 3
    until_gone(pids)


RUN = """
import subprocess, sys, time
def test_it(tmp_path_factory):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print("started", child.pid, flush=True)
    time.sleep(600)
"""


def test_a_run_of_tests_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(RUN)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.conftest",
        "-s",
        "-p",
        "no:cacheprovider",
    ]
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [*command, str(tmp_path)], cwd=root, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        line = next(line for line in run.stdout if "started" in line)
        pid = int(line.split()[-1])
        assert not gone(pid)
        run.kill()
    until_gone([pid])


def test_a_frozen_child_ends_with_its_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "log"), PATIENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        os.killpg(pids[1], signal.SIGSTOP)
        parent.kill()
    until_gone(pids)


def until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 60.0
    while not all(map(gone, pids)):
        assert time.monotonic() < deadline, "it outlives whoever started it"
        time.sleep(0.01)
