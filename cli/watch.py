"""`aiflow watch`: the captions of a broker as they come."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import Field

from aiflow.cli.address import broker_settings, require_trust
from aiflow.cli.logs import Level, configure
from aiflow.cli.screen import WATCH_HEAD, Screen
from aiflow.client import Captions
from aiflow.common.config import Broker, Section, load
from aiflow.common.messages import Caption

_TICK_S: Final = 0.5


class WatchConfig(Section):
    """What `aiflow watch --config` reads: the section that every tier's file has, too."""

    broker: Broker = Field(default_factory=Broker)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which captions to show, by what they say."""

    tier: str | None = None
    words: tuple[str, ...] = ()
    """All of these, whatever their case."""
    min_confidence: float = 0.0

    def __contains__(self, caption: Caption) -> bool:
        text = caption.text.casefold()
        return (
            self.tier in {None, caption.tier}
            and caption.confidence >= self.min_confidence
            and all(words.casefold() in text for words in self.words)
        )


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """What to show, of which broker, and for how long (`count` 0: until interrupted).

    `events`: nothing that the broker had kept from before.
    """

    config: Path | None = None
    broker_url: str | None = None
    device: str | None = None
    camera: str | None = None
    wanted: Wanted = Wanted()
    events: bool = False
    count: int = 0
    as_json: bool = False
    log_level: Level = Level.WARNING


def watch(options: WatchOptions) -> None:
    """Show captions until interrupted or `count` have been shown. Raises AiflowError."""
    broker = broker_at(options.broker_url, options.config)
    screen = Screen(sys.stdout)
    configure(Level.ERROR)  # why the first connection fails is told by the error itself
    captions = Captions(
        broker, device=options.device, camera=options.camera, latest=not options.events
    )
    with captions:
        configure(options.log_level)
        if not options.as_json:
            screen.line(WATCH_HEAD)
        _show(captions, screen, options)


def _show(captions: Captions, screen: Screen, options: WatchOptions) -> None:
    shown = dropped = 0
    while not options.count or shown < options.count:
        caption = captions.next(_TICK_S)
        missed = captions.skipped["too_slow"] - dropped
        if missed:
            dropped += missed
            sys.stderr.write(f"aiflow watch: {missed} captions came faster than they were shown\n")
        if caption is None or caption not in options.wanted:
            continue
        if options.as_json:
            screen.line(caption.to_json().decode())
        else:
            screen.dated(caption)
        shown += 1


def broker_at(url: str | None, config: Path | None) -> Broker:
    """The broker of a configuration file and the environment; at `url`, if there is one."""
    if url is None:
        return load(WatchConfig, config).broker
    broker = load(WatchConfig, config, given={"broker": broker_settings(url)}).broker
    require_trust(url, broker)
    return broker
