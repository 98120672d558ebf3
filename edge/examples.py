"""Examples that triggers compare frames with: some frames' symbols, in a small JSON file each.

Alike are frames whose levels are near one another: 1 less the mean distance of their symbols, as a
share of the longest distance there is. Frames of which fewer tokens came are compared by those.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from aiflow.common.codec import Symbols
from aiflow.common.errors import ConfigError, PayloadError
from aiflow.common.messages import MESSAGE_VERSION, Message, Name
from aiflow.edge.config import EdgeConfig, ledger_path

MOST_FRAMES: Final = 16

Row = Annotated[
    tuple[Annotated[int, Field(ge=0, le=254)], ...], Field(min_length=1, max_length=255)
]
Frame = Annotated[tuple[Row, ...], Field(min_length=1, max_length=255)]


class Example(Message):
    """What a trigger was shown."""

    version: Literal[1] = MESSAGE_VERSION
    bundle: str = Field(pattern=r"^[0-9a-f]{64}$")
    device: Name
    camera: Name
    learned: float = Field(description="seconds since 1970")
    levels: tuple[Annotated[int, Field(ge=2, le=255)], ...]
    frames: tuple[Frame, ...] = Field(min_length=1, max_length=MOST_FRAMES)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        rows = [row for frame in self.frames for row in frame]
        if any(len(row) != len(self.levels) for row in rows):
            raise ValueError(f"not every token has {len(self.levels)} dimensions")
        if any(symbol >= top for row in rows for symbol, top in zip(row, self.levels, strict=True)):
            raise ValueError("a symbol beyond its levels")
        return self

    @cached_property
    def shown(self) -> list[NDArray[np.float32]]:
        """Each frame's symbols, float32 (k, D)."""
        return [np.array(frame, np.float32) for frame in self.frames]

    def similarity(self, symbols: Symbols) -> float:
        """0 to 1, of symbols uint8 (k, D) to the frame that is most like them."""
        top = np.array(self.levels, np.float32) - 1
        return max(_nearness(frame, symbols, top) for frame in self.shown)


def _nearness(frame: NDArray[np.float32], symbols: Symbols, top: NDArray[np.float32]) -> float:
    tokens = min(len(frame), len(symbols))
    return 1.0 - float((np.abs(frame[:tokens] - symbols[:tokens]) / top).mean())


def example_path(config: EdgeConfig, name: str) -> Path:
    """Where it is: beside the ledger."""
    return ledger_path(config).parent / f"trigger-{name}.json"


def read_examples(config: EdgeConfig, bundles: Collection[str]) -> dict[str, Example]:
    """All that triggers are to be like, by name.

    `bundles` are the ids of the node's. Raises ConfigError, which names the trigger, for what is
    missing, damaged or of another bundle.
    """
    examples = {}
    for trigger in config.trigger:
        if trigger.like is None:
            continue
        path = example_path(config, trigger.like)
        where = f"trigger {trigger.name}: its example {path}"
        try:
            example = Example.from_json(path.read_bytes())
        except FileNotFoundError as error:
            raise ConfigError(
                f"{where} is not there; make it with aiflow trigger learn {trigger.like}"
            ) from error
        except OSError as error:
            raise ConfigError(f"{where} cannot be read: {error.strerror}") from error
        except PayloadError as error:
            raise ConfigError(f"{where} is damaged: {error}") from error
        if example.bundle not in bundles:
            raise ConfigError(f"{where} was learned with another bundle; learn it again")
        examples[trigger.like] = example
    return examples
