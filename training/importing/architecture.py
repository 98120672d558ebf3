"""What the import needs to know of an architecture; one subclass for each kind of model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from aiflow.common.errors import SourceInvalid


@dataclass(frozen=True, slots=True)
class Ids:
    """The model's own ids: of a caption's first token, of those that end it, and of padding."""

    begin: int
    ends: tuple[int, ...]
    pad: int

    @property
    def unsaid(self) -> list[int]:
        """What a caption never holds: begin and padding, unless they end it as well."""
        return sorted({self.begin, self.pad} - set(self.ends))


class Architecture(ABC):
    """A model as transformers loads it, and where its parts are.

    `config` is the text decoder's, `see` the vision model (pixels (B, 3, H, W) -> hidden states),
    `head` the linear layer that gives the logits, `generator` what transformers' generate runs on.
    `caches` counts the layers of keys and values that the decoder keeps.
    """

    name: ClassVar[str]
    """The class in transformers, as config.json says it."""

    ids: Ids
    config: Any
    see: nn.Module
    head: nn.Module
    generator: Any
    caches: int

    @abstractmethod
    def __init__(self, model: Any) -> None: ...

    @abstractmethod
    def decoder(self, codec: nn.Module, places: int) -> nn.Module:
        """A decoder as the captioner calls it, with `places` visual tokens, read by `codec`."""

    @abstractmethod
    def generate(self, hidden: Tensor, begin: Tensor) -> Tensor:
        """Ids (B, L) by transformers' generate from hidden (B, N, D) and begin ids (B, 1)."""


def token_id(name: str, *configs: Any) -> int:
    """Return the first of the configurations' ids of that name; raises SourceInvalid."""
    return token_ids(name, *configs)[0]


def token_ids(name: str, *configs: Any) -> tuple[int, ...]:
    """Return the ids of that name in the first of the configurations that has any, one or a list.

    Raises SourceInvalid.
    """
    for config in configs:
        value = getattr(config, name, None)
        ids = value if isinstance(value, list) else [value]
        if ids and all(type(one) is int and one >= 0 for one in ids):
            return tuple(ids)
        if value is not None:
            raise SourceInvalid(
                f"{name} of the model is {value!r}, neither an id nor a list of ids; correct its "
                "config.json and generation_config.json"
            )
    raise SourceInvalid(
        f"the model's configuration does not say one {name}; add it to its config.json"
    )
