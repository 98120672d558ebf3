"""Child processes that end when they should: each in a group of its own, with a log file.

Every child is told to end by SIGTERM, and killed when it has not within five seconds. Should this
process itself be killed, a guard does the same:

    this process ──── pipe ────> guard (a shell, in a session of its own): ends the group at its end
          └──> child: writes its id into the pipe, and becomes the program

The kernel's own signal (PR_SET_PDEATHSIG) would not do: it comes when the thread that started the
child ends, and is forgotten by a program that changes its user, as Mosquitto does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from aiflow.common.errors import AiflowError

GRACE_S: Final = 5.0
_TAIL_BYTES: Final = 8_192
# The pipe is the shell's stdin: of other descriptors it redirects only those of one digit.
_LAUNCH: Final = ("sh", "-c", 'echo "$$" >&0; exec "$@" </dev/null', "sh")
# The first line is the group; a second one says that it has ended. Neither comes from the dead.
_GUARD: Final = """
trap '' HUP INT TERM
read -r group || exit 0
read -r _ && exit 0
kill -CONT "-$group"; kill -TERM "-$group"
for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "-$group" || exit 0; sleep 0.2; done
kill -KILL "-$group"
"""


class Child:
    """One child process. Its stdout and stderr go to `log_path`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log_path: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log_path = log_path
        self._command = list(command)
        self._environment = None if environment is None else dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id; also that of the child's process group. 0 before the first start."""
        return self._process.pid if self._process else 0

    @property
    def returncode(self) -> int | None:
        """Exit status, negative for a signal; None while it runs or has never been started."""
        return self._process.poll() if self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, or start it again after it has ended; the log is continued."""
        if self.running:
            return
        self._dismiss()
        self._guard = subprocess.Popen(
            ["sh", "-c", _GUARD],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*_LAUNCH, *self._command],
                stdin=self._guard.stdin,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to its whole group; nothing happens if it has ended."""
        # Until its status is taken by poll, the id of a child cannot be another process's.
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def wait(self, timeout_s: float) -> int | None:
        """Exit status, or None when it still runs after `timeout_s`."""
        if self._process is None:
            return None
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, grace_s: float = GRACE_S) -> int | None:
        """SIGTERM, then SIGKILL after `grace_s`; returns the exit status."""
        stop_all([self], grace_s)
        return self.returncode

    def kill(self) -> None:
        """SIGKILL to it and to all that it has started; returns when it is gone."""
        if self._process is None:
            return
        # Also when the child itself has ended: its group may live on. The group's id is not given
        # to another process as long as the group has members.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._dismiss()

    def last_lines(self, count: int = 8) -> list[str]:
        """The end of its log; empty when there is none."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(0, self.log_path.stat().st_size - _TAIL_BYTES))
                return log.read().decode(errors="replace").splitlines()[-count:]
        except OSError:
            return []

    def _dismiss(self) -> None:
        """The guard has nothing to do any more."""
        guard, self._guard = self._guard, None
        if guard is not None and guard.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                guard.stdin.write(b"done\n")
                guard.stdin.close()
            guard.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def stop_all(children: Sequence[Child], grace_s: float = GRACE_S) -> None:
    """End all of them together: SIGTERM to each, and SIGKILL to what is left after `grace_s`."""
    for child in children:
        child.tell(signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    for child in children:
        child.wait(max(0.0, deadline - time.monotonic()))
        child.kill()


def check_all(children: Sequence[Child]) -> None:
    """Raise AiflowError that shows the end of its log if one of them has ended."""
    for child in children:
        status = child.returncode
        if status is not None:
            raise AiflowError(
                "\n    ".join([f"{child.name} {_ending(status)}; its log ends:", *_words(child)])
            )


def _words(child: Child) -> list[str]:
    return child.last_lines() or ["(it wrote nothing)"]


def _ending(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended by itself with status {status}"
