"""A captioner that nobody has trained, in the form that `aiflow.training.importing.model` gives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn

from aiflow.common.greedy import END, START, VISUAL

if TYPE_CHECKING:
    from aiflow.training.importing.model import Foreign

WIDTH, HEIGHT, PATCH = 48, 32, 8
TOKENS, HIDDEN, VOCABULARY, MAX_TOKENS = 24, 16, 30, 8


class Vision(nn.Module):
    """Patches, and two layers each for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(PATCH * PATCH * 3, 32)
        self.second = nn.Linear(32, HIDDEN)

    def forward(self, image: Tensor) -> Tensor:
        size = len(image)
        rows, columns = HEIGHT // PATCH, WIDTH // PATCH
        patches = image.reshape(size, rows, PATCH, columns, PATCH, 3).transpose(2, 3)
        flat = patches.reshape(size, TOKENS, -1) / 128 - 1
        hidden: Tensor = self.second(torch.tanh(self.first(flat)))
        return hidden


class Decoder(nn.Module):
    """Looks at the mean of everything before it, and at how many words there are."""

    def __init__(self, codec: nn.Module, places: int) -> None:
        super().__init__()
        self.codec, self.places = codec, places
        generator = torch.Generator().manual_seed(11)
        self.words = nn.Parameter(torch.randn(VOCABULARY, HIDDEN, generator=generator))
        self.steps = nn.Parameter(torch.randn(MAX_TOKENS + 1, VOCABULARY, generator=generator))
        self.head = nn.Parameter(4 * torch.randn(HIDDEN, VOCABULARY, generator=generator))

    def forward(
        self, ids: Tensor, symbols: Tensor, positions: Tensor, mask: Tensor, past: Tensor
    ) -> tuple[Tensor, Tensor]:
        visual = (ids == VISUAL)[..., None]
        here = torch.where(visual, self.codec(symbols), self.words[ids])
        known = torch.cat([past[0, 0, :, 0], here], dim=1)
        seen = mask.float()
        mean = (seen @ known) / seen.sum(dim=2, keepdim=True).clamp(min=1)
        logits = mean @ self.head + self.steps[(positions - self.places).clamp(0, MAX_TOKENS)]
        logits[..., : START + 1] = -1e9
        return logits, torch.stack([here, here])[None, :, :, None]


def made_up(license_: str = "MIT") -> Foreign:
    """The whole captioner, always the same one."""
    return cast("Foreign", _MadeUp(license_))


class _MadeUp:
    """Has all that `Foreign` has for others."""

    name, cropped = "made-up-captioner", False
    size = (WIDTH, HEIGHT)
    hidden, tokens = HIDDEN, TOKENS
    layers, heads, width = 1, 1, HIDDEN
    vocabulary, max_tokens, parameters = VOCABULARY, MAX_TOKENS, 1234

    def __init__(self, license_: str) -> None:
        self.license = license_
        torch.manual_seed(7)
        self.vision: Any = Vision().eval()

    def decoder(self, codec: nn.Module, places: int) -> Decoder:
        return Decoder(codec, places)

    def tokenizer_json(self) -> str:
        words = ["<visual>", "<start>", "<end>", *(f"w{n}" for n in range(3, VOCABULARY))]
        tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate(words)}, "w3"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer.add_special_tokens(words[:3])
        return str(tokenizer.to_str())

    def caption(self, hidden: Tensor) -> list[list[int]]:
        """Greedy, from all tokens as they are; without a cache."""
        decoder = Decoder(nn.Identity(), TOKENS)
        captions = []
        for tokens in hidden:
            said: list[int] = []
            while len(said) < MAX_TOKENS and said[-1:] != [END]:
                known = torch.cat([tokens, decoder.words[[START, *said]]])
                logits = known.mean(dim=0) @ decoder.head + decoder.steps[len(said)]
                said.append(int(logits[END:].argmax()) + END)
            captions.append(said)
        return captions


def write_images(folder: Path, count: int, seed: int = 1) -> Path:
    """Scenes of a few coloured boxes."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for index in range(count):
        image = np.full((64, 96, 3), rng.integers(0, 256, 3), np.uint8)
        for _ in range(4):
            corner, colour = rng.integers(0, 80, 2), rng.integers(0, 256, 3)
            far = corner + rng.integers(8, 40, 2)
            cv2.rectangle(image, corner.tolist(), far.tolist(), colour.tolist(), -1)
        cv2.imwrite(str(folder / f"{index:04}.png"), image)
    return folder
