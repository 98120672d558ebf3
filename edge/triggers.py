"""Triggers: which captions begin something that somebody looks for. Pure, but for a clock.

A trigger fires when its condition has been true of a camera for `for_s`. The occurrence then lasts
until the condition has been false for `hold_off_s`; whatever is true before that belongs to it.

    caption -> condition -> idle --true for for_s--> under way --false for hold_off_s--> idle
                                     fires
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from aiflow.common.codec import Symbols
from aiflow.common.messages import Caption
from aiflow.edge.config import TriggerConfig, hours
from aiflow.edge.examples import Example


class Occurrence(NamedTuple):
    """What is under way: which trigger, and where."""

    trigger: str
    device: str
    camera: str


class Run(NamedTuple):
    """Captions in a row that meet a condition; seconds are those of their frames' capture."""

    frame: str
    """Id of the newest frame, of which an update may come."""
    before_s: float | None
    """When the run began that the frame before belongs to; None if that meets nothing."""
    since_s: float | None
    """The same, with the newest frame."""


class Triggers:
    """All triggers of a node; any thread may call it."""

    def __init__(
        self,
        configs: Sequence[TriggerConfig],
        clock: Callable[[], float] = time.monotonic,
        examples: Mapping[str, Example] | None = None,
    ) -> None:
        """`clock` gives seconds; `examples` has, by name, what configs are `like`."""
        known = examples or {}
        self._conditions = [
            Condition(config, None if config.like is None else known[config.like])
            for config in configs
        ]
        self._clock = clock
        self._lock = threading.Lock()
        self._under_way: dict[Occurrence, float | None] = {}
        """With the time since when the condition is false; None while it is true."""
        self._runs: dict[Occurrence, Run] = {}

    def take(
        self, caption: Caption, symbols: Symbols | None = None, *, newest: bool = True
    ) -> list[Occurrence]:
        """What begins with this caption of a frame with these symbols, uint8 (k, D), if any.

        Not `newest`: a later frame of the camera has been captioned already. Then it may begin an
        occurrence for which one caption is enough, but does not say how things are now.
        """
        if caption.type == "trigger":
            return []
        with self._lock:
            now = self._clock()
            return [
                Occurrence(condition.config.name, caption.device, caption.camera)
                for condition in self._conditions
                if condition.concerns(caption, symbols)
                and self._begins(
                    condition.config,
                    caption,
                    now,
                    met=condition.met(caption, symbols),
                    newest=newest,
                )
            ]

    def lost(self, occurrence: Occurrence) -> None:
        """Its event did not reach the broker: the next caption that is true fires again."""
        with self._lock:
            self._under_way.pop(occurrence, None)

    def _begins(
        self, config: TriggerConfig, caption: Caption, now: float, *, met: bool, newest: bool
    ) -> bool:
        """Note whether its condition is met; True if it begins with that. The lock is held."""
        occurrence = Occurrence(config.name, caption.device, caption.camera)
        false_since = self._under_way.get(occurrence)
        if false_since is not None and now - false_since >= config.hold_off_s:
            del self._under_way[occurrence]
        lasted_s = self._lasted_s(occurrence, caption, met=met) if newest else 0.0
        under_way = occurrence in self._under_way
        begins = met and not under_way and lasted_s >= config.lasting_s
        if met and newest and (begins or under_way):
            self._under_way[occurrence] = None
        elif begins or (newest and self._under_way.get(occurrence, now) is None):
            # It has become false, or was true of an older frame only, which may be over.
            self._under_way[occurrence] = now
        return begins

    def _lasted_s(self, occurrence: Occurrence, caption: Caption, *, met: bool) -> float:
        """Note the newest caption; for how long each one up to it has met the condition."""
        run = self._runs.pop(occurrence, Run("", None, None))
        before_s = run.before_s if run.frame == caption.id else run.since_s
        captured_s = caption.timestamp
        began_s = captured_s if before_s is None else min(before_s, captured_s)
        since_s = began_s if met else None
        if before_s is not None or since_s is not None:
            self._runs[occurrence] = Run(caption.id, before_s, since_s)
        return 0.0 if since_s is None else captured_s - since_s


class Condition:
    """What a trigger wants of one caption."""

    def __init__(self, config: TriggerConfig, example: Example | None) -> None:
        self.config = config
        self._example = example
        self._all = [pattern(words) for words in config.all]
        self._any = [pattern(words) for words in config.any]
        self._none = [pattern(words) for words in config.none]
        self._hours = None if config.active is None else hours(config.active)

    def concerns(self, caption: Caption, symbols: Symbols | None) -> bool:
        """Whether it says anything: of this camera, not about the past, and comparable."""
        cameras = self.config.cameras
        here = not cameras or f"{caption.device}/{caption.camera}" in cameras
        example = self._example
        comparable = example is None or (symbols is not None and caption.bundle == example.bundle)
        return here and comparable and (self.config.late or not caption.late)

    def met(self, caption: Caption, symbols: Symbols | None) -> bool:
        return (
            caption.confidence >= self.config.min_confidence
            and self._is_active(caption.timestamp)
            and self._says_so(caption.text)
            and self._looks_so(symbols)
        )

    def _says_so(self, text: str) -> bool:
        return (
            all(words.search(text) for words in self._all)
            and (not self._any or any(words.search(text) for words in self._any))
            and not any(words.search(text) for words in self._none)
        )

    def _looks_so(self, symbols: Symbols | None) -> bool:
        if self._example is None or symbols is None:
            return self._example is None
        return self._example.similarity(symbols) >= self.config.similarity

    def _is_active(self, captured_s: float) -> bool:
        """By the time of capture, in this machine's zone; the hours may go over midnight."""
        if self._hours is None:
            return True
        begin, end = self._hours
        at = datetime.fromtimestamp(captured_s).astimezone().time()
        return begin <= at < end if begin < end else at >= begin or at < end


def pattern(words: str) -> re.Pattern[str]:
    """Finds a word or phrase whatever its case; the last word also with -s or -es added."""
    phrase = r"\s+".join(re.escape(word) for word in words.split())
    return re.compile(rf"(?<!\w){phrase}(?:e?s)?(?!\w)", re.IGNORECASE)
