"""Captions made on the device: when its owner wants that, or when no edge node is within reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from aiflow.common.bundle import Bundle
from aiflow.common.captioner import Captioner, Draft, Request, WritesCaptions
from aiflow.common.wire import Why

TIER: Final = "nano"
"""The bundle's decoder for devices."""


class Nano:
    """The device's decoder, loaded when it is first needed: most devices never do."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        self._bundle = bundle
        self._threads = threads
        self._captioner: Captioner | None = None

    def caption(self, batch: Sequence[Request]) -> list[Draft]:
        """Raises BundleError if the decoder cannot be loaded."""
        if self._captioner is None:
            self._captioner = Captioner(self._bundle, TIER, self._threads)
        return self._captioner.caption(batch)


@dataclass(frozen=True, slots=True)
class Fallback:
    """What captions frames on the device, and whether it is to do so now.

    `why` is asked before each frame: None leaves it to an edge node. `took` hears how many seconds
    each caption took.
    """

    captions: WritesCaptions
    why: Callable[[], Why | None]
    took: Callable[[float], None]
