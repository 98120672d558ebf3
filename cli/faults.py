"""From what went wrong to what a person reads and the exit status that a script sees.

0    done
1    an expected fault: broker, camera, bundle, a caption that is missing
2    usage or configuration
130  interrupted by Ctrl-C (143: by SIGTERM, where a command does not end in good order by it)
141  the reader of our output has gone (`aiflow watch | head`)
"""

from __future__ import annotations

from enum import IntEnum

from aiflow.common.errors import AiflowError, ConfigError


class Status(IntEnum):
    """Exit statuses of `aiflow`."""

    DONE = 0
    FAULT = 1
    USAGE = 2
    INTERRUPTED = 130
    TERMINATED = 143


class Terminated(BaseException):
    """SIGTERM or SIGHUP has come; like KeyboardInterrupt, nothing on the way should catch it."""


def status_of(error: AiflowError) -> Status:
    """2 for what the user has written, 1 for what has happened."""
    return Status.USAGE if isinstance(error, ConfigError) else Status.FAULT
