"""What only a process of its own should try: drivers hang, and a wrong build of a runtime crashes.

    parent: probe(job, limit_s) ── JSON on stdin ──> child: python -m aiflow.cli.doctor.probe
            ends it, if it must  <── JSON on stdout ──

A job comes on stdin and not as arguments, which others could read: a camera's URL may hold a
password.
"""

# ruff: noqa: PLC0415 - the child loads what its job needs, and the parent none of it

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiflow.common.errors import AiflowError

Facts = dict[str, Any]
GREY: Final = 128


class ProbeFailed(AiflowError):
    """The job cannot be done; the sentence says why."""


def probe(job: Mapping[str, Any], limit_s: float) -> Facts:
    """Do a job (`what`: camera, encoder or decoder) in a child; raises ProbeFailed.

    The child and all that it has started are gone when this returns, unless one of them hangs in
    the kernel, which nobody can end.
    """
    command = [sys.executable, "-P", "-m", "aiflow.cli.doctor.probe"]
    pipe = subprocess.PIPE
    child = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        answer, _ = child.communicate(json.dumps(job).encode(), limit_s)
    except subprocess.TimeoutExpired as error:
        raise ProbeFailed(f"nothing came within {limit_s:g} s") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(1.0)
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                stream.close()
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        raise ProbeFailed(f"the process that tried it was ended by {name}")
    facts: Facts = json.loads(answer or b'{"error": "the process that tried it said nothing"}')
    if "error" in facts:
        raise ProbeFailed(facts["error"])
    return facts


def main() -> None:
    """The child: one job from stdin, one answer to stdout."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a driver prints is no part of the answer
    job = json.load(sys.stdin)
    works: dict[str, Callable[..., Facts]] = {
        "camera": _camera,
        "encoder": _encoder,
        "decoder": _decoder,
    }
    work = works[job.pop("what")]
    began = time.monotonic()
    try:
        facts = work(**job)
    except AiflowError as error:
        facts = {"error": str(error)}
    except Exception as error:  # noqa: BLE001 - the outermost call of this process
        # What an exception says of a camera may hold its URL.
        text = "" if work is _camera else f": {error}"
        facts = {"error": f"{type(error).__name__}{text}"}
    json.dump({"took_s": time.monotonic() - began, **facts}, answer)
    answer.flush()
    os._exit(0)  # a thread may hang in a driver


def _camera(uri: str, fps: float, width: int | None, height: int | None, stall_s: float) -> Facts:
    from aiflow.device.camera import open_camera

    camera = open_camera(uri, fps, width, height, stall_s + 1 / fps)
    frame = camera.read()
    if frame is None:
        raise ProbeFailed("it ended before it gave a frame")
    rows, columns = frame.image.shape[:2]
    return {"width": columns, "height": rows, "brightness": float(frame.image.mean())}


def _encoder(bundle: str, runtime: str, threads: int, provider: str) -> Facts:
    import numpy as np

    from aiflow.common.bundle import Bundle
    from aiflow.common.encoder import Encoder

    opened = Bundle.open(bundle)
    encoder = Encoder.load(opened, runtime, threads, provider)
    width, height = opened.input_size
    began = time.perf_counter()
    encoder.encode(np.full((height, width, 3), GREY, np.uint8))
    return {"run_s": time.perf_counter() - began, "did": "encoded a grey frame"}


def _decoder(bundle: str, tier: str, threads: int) -> Facts:
    import numpy as np

    from aiflow.common.bundle import Bundle
    from aiflow.common.captioner import Captioner, Request

    opened = Bundle.open(bundle)
    captions = Captioner(opened, tier, threads)
    request = Request(np.zeros((opened.tokens, opened.dims), np.uint8))
    captions.caption([request])  # the first run is the slowest
    began = time.perf_counter()
    captions.caption([request])
    return {"run_s": time.perf_counter() - began, "did": "captioned an empty frame"}


if __name__ == "__main__":
    main()
