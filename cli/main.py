"""`aiflow`: runs a command and turns what went wrong into a sentence and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import typer

from aiflow.cli.commands import app
from aiflow.cli.faults import Status, Terminated, status_of
from aiflow.common.errors import AiflowError


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit: 0, 1 for an expected fault, 2 for usage and configuration."""
    _open_descriptors()
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def _open_descriptors() -> None:
    """Open those of stdin, stdout and stderr that are closed (`>&-`, some supervisors).

    Else the next file or socket gets the number, and Python has no stream to write to.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
            os.set_inheritable(descriptor, True)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def run(arguments: Sequence[str]) -> int:
    """Run the command; its exit status. Expected faults are one sentence on stderr."""
    # typer carries its own copy of click from 0.27 on and click's before; this is either's.
    usage_error: Any = typer.BadParameter.__mro__[1]
    try:
        status = app(args=list(arguments), prog_name="aiflow", standalone_mode=False)
        sys.stdout.flush()
    except AiflowError as error:
        return _complain(str(error), status_of(error))
    except usage_error as error:
        return _misused(error)
    except Terminated:
        return Status.TERMINATED
    except (KeyboardInterrupt, typer.Abort):
        return Status.INTERRUPTED
    except BrokenPipeError:
        # What is left for stdout has no reader (`aiflow bundle list | head -n 1`): say nothing.
        sys.stdout = None
        return Status.FAULT
    return status if isinstance(status, int) else Status.DONE


def _misused(error: Any) -> Status:
    """An option or argument that is none: what is wrong with it, and where to read more."""
    message = str(error.format_message()).strip()
    # Newer typers give some of it in pydantic's words.
    message = message.replace("Value error, ", "").replace(": Input should", ": it should")
    if message.startswith("Usage:"):  # called without a command, which asks for help
        typer.echo(message, err=True)
        return Status.USAGE
    command = error.ctx.command_path if error.ctx is not None else "aiflow"
    return _complain(f"{message.rstrip('.')}; see {command} --help", Status.USAGE)


def _complain(sentence: str, status: Status) -> Status:
    typer.echo(f"aiflow: {sentence}", err=True)
    return status
