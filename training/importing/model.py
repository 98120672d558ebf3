"""A captioner that others have trained, loaded from where it lies, in the form AI Flow needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from torch import Tensor, nn
from transformers import GenerationConfig
from transformers.utils import logging

from aiflow.common.errors import SourceInvalid
from aiflow.common.greedy import END
from aiflow.training.importing.architecture import Architecture
from aiflow.training.importing.bert import Blip, Git
from aiflow.training.importing.decoder import SHIFT
from aiflow.training.importing.gpt2 import VisionGpt2
from aiflow.training.importing.source import license_of, locate, read_config
from aiflow.training.importing.tokenizer import shifted
from aiflow.training.importing.vision import Preprocessing, Vision

ARCHITECTURES: Final[tuple[type[Architecture], ...]] = (VisionGpt2, Blip, Git)
MAX_VOCABULARY: Final = 1 << 16
"""Token ids travel as 16 bits."""
MAX_CACHES: Final = 64
MAX_TOKENS: Final = 30
"""Of a caption, where the model does not say how long its own may become."""


@dataclass(frozen=True, slots=True, eq=False)
class Foreign:
    """A captioning model and what a bundle says of it.

    `size` is (width, height) of its pictures. `vision` takes float (B, H, W, 3) BGR in 0..255 and
    gives hidden (B, N, D) with N = `tokens` and D = `hidden`. `layers` counts the decoder's caches,
    `vocabulary` includes our own ids, `parameters` are the decoder's. `cropped`: its makers feed it
    the middle of a picture, where AI Flow squeezes all of it into `size`.
    """

    name: str
    license: str
    size: tuple[int, int]
    cropped: bool
    vision: nn.Module
    hidden: int
    tokens: int
    layers: int
    heads: int
    width: int
    vocabulary: int
    max_tokens: int
    parameters: int
    _architecture: Architecture = field(repr=False)
    _tokenizer: str = field(repr=False)

    def decoder(self, codec: nn.Module, places: int) -> nn.Module:
        """The decoder as the captioner calls it; `codec` turns symbols (B, T, R) into (B, T, D)."""
        return self._architecture.decoder(codec, places).eval()

    def tokenizer_json(self) -> str:
        """The model's tokenizer, ids shifted as the decoder's are."""
        return self._tokenizer

    @torch.no_grad()
    def caption(self, hidden: Tensor) -> list[list[int]]:
        """Greedy captions of hidden (B, N, D) by transformers' generate, in our ids up to END.

        It is the yardstick: neither codec nor export have touched it.
        """
        ids = self._architecture.ids
        begin = torch.full((len(hidden), 1), ids.begin)
        captions = []
        with _quiet():
            said = self._architecture.generate(hidden, begin)[:, 1:].tolist()
        for line in said:
            length = next((at for at, own in enumerate(line) if own in ids.ends), len(line))
            ended = [END] if length < len(line) else []
            captions.append([own + SHIFT for own in line[:length]] + ended)
        return captions


def load(source: str | Path) -> Foreign:
    """Load a captioner from a directory, or from the hub where there is a network.

    Only weights in safetensors and code of transformers itself are used. Raises SourceInvalid.
    """
    folder = locate(source)
    architecture = _architecture(folder)
    config = architecture.config
    tokens = _max_tokens(architecture)
    _generate_greedily(architecture, tokens)
    preprocessing = Preprocessing.read(folder)
    vision = Vision(architecture.see, preprocessing).eval()
    size = _size(architecture.see.config)
    _refuse_unfit(architecture)
    with torch.no_grad():
        hidden = vision(torch.zeros(1, size[1], size[0], 3))
    foreign = Foreign(
        name=folder.resolve().name if Path(source).is_dir() else str(source).split("/")[1],
        license=license_of(folder),
        size=size,
        cropped=preprocessing.cropped,
        vision=vision,
        hidden=hidden.shape[2],
        tokens=hidden.shape[1],
        layers=architecture.caches,
        heads=config.num_attention_heads,
        width=config.hidden_size,
        vocabulary=architecture.head.out_features + SHIFT,
        max_tokens=tokens,
        parameters=sum(p.numel() for p in architecture.decoder(nn.Identity(), 1).parameters()),
        _architecture=architecture,
        _tokenizer=shifted(folder / "tokenizer.json"),
    )
    _refuse_too_large(foreign)
    return foreign


def _architecture(folder: Path) -> Architecture:
    config = read_config(folder)
    named = config.get("architectures") or ["none"]
    if not isinstance(named, list):
        raise SourceInvalid(f"architectures in {folder / 'config.json'} is no list; correct it")
    for known in ARCHITECTURES:
        if known.name in named:
            return known(_read(folder, known.name))
    names = ", ".join(known.name for known in ARCHITECTURES)
    raise SourceInvalid(
        f"{folder} is a model of the architecture {named[0]}; the import knows {names}"
    )


def _read(folder: Path, name: str) -> Any:
    """Read the weights as float32; raises SourceInvalid, also where some are missing."""
    try:
        with _quiet():
            model, report = getattr(transformers, name).from_pretrained(
                folder,
                dtype=torch.float32,
                attn_implementation="eager",
                local_files_only=True,
                output_loading_info=True,
                use_safetensors=True,
            )
    except Exception as exc:  # transformers, safetensors and torch have no common base
        raise SourceInvalid(f"{folder} cannot be loaded as {name}: {exc}") from exc
    # A pooler gives one vector for a whole picture, which captioning does not read.
    missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)
    if missing:
        raise SourceInvalid(
            f"{folder} lacks the weights {missing[0]} and {len(missing) - 1} more; get all of it"
        )
    return model.eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars and warnings: what matters here becomes an error."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _max_tokens(architecture: Architecture) -> int:
    """Tokens of a caption after its begin, END included; each has a position of its own."""
    given = architecture.generator.generation_config
    wanted = given.max_new_tokens or (given.max_length or MAX_TOKENS + 1) - 1
    return int(min(wanted, architecture.config.max_position_embeddings - 1, 512))


def _generate_greedily(architecture: Architecture, tokens: int) -> None:
    """Take beams, sampling, penalties and the like from transformers' generate."""
    ids = architecture.ids
    architecture.generator.generation_config = GenerationConfig(
        max_new_tokens=tokens,
        bos_token_id=ids.begin,
        decoder_start_token_id=ids.begin,
        eos_token_id=list(ids.ends),
        pad_token_id=ids.pad,
        suppress_tokens=ids.unsaid or None,
    )


def _size(config: Any) -> tuple[int, int]:
    """(width, height) of a vision model's pictures."""
    size = getattr(config, "image_size", None)
    if isinstance(size, int):
        return size, size
    if isinstance(size, (list, tuple)) and len(size) == 2:
        return size[1], size[0]
    raise SourceInvalid(
        f"the vision model {config.model_type} does not say its image_size; only those of a fixed "
        "size can be imported"
    )


def _refuse_unfit(architecture: Architecture) -> None:
    channels = getattr(architecture.see.config, "num_channels", 3)
    if channels != 3:
        raise SourceInvalid(
            f"num_channels of the vision model in config.json is {channels}; only models of colour "
            "pictures, with 3, can be imported"
        )
    ids, known = architecture.ids, architecture.head.out_features
    largest = max(ids.begin, *ids.ends, ids.pad)
    if largest >= known:
        raise SourceInvalid(
            f"the model's configuration names the token {largest}, and it has only {known}; "
            "correct bos_token_id, eos_token_id and pad_token_id"
        )


def _refuse_too_large(foreign: Foreign) -> None:
    if foreign.vocabulary > MAX_VOCABULARY:
        raise SourceInvalid(
            f"{foreign.name} has a vocabulary of {foreign.vocabulary - SHIFT}, more than the "
            f"{MAX_VOCABULARY - SHIFT} that AI Flow can number; choose a model with a smaller one"
        )
    if foreign.layers > MAX_CACHES:
        raise SourceInvalid(
            f"{foreign.name} keeps {foreign.layers} layers of keys and values, more than the "
            f"{MAX_CACHES} of a bundle; choose a smaller model"
        )
