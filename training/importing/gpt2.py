"""ViT-GPT2 and its kin: any vision model, and GPT-2 with cross-attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from aiflow.common.errors import SourceInvalid
from aiflow.training.importing.architecture import Architecture, Ids, token_id, token_ids
from aiflow.training.importing.decoder import CrossDecoder, Layer, Sight, Text, Words


class VisionGpt2(Architecture):
    """VisionEncoderDecoderModel with a GPT-2 decoder."""

    name = "VisionEncoderDecoderModel"

    def __init__(self, model: Any) -> None:
        if model.config.decoder.model_type != "gpt2":
            raise SourceInvalid(
                f"a {self.name} whose decoder is {model.config.decoder.model_type} cannot be "
                "imported, only one with gpt2"
            )
        self._model = model
        self.config = model.decoder.config
        configs = (model.generation_config, model.config, self.config)
        ends = token_ids("eos_token_id", *configs)
        begin = getattr(model.generation_config, "decoder_start_token_id", None)
        if begin is None:
            begin = token_id("bos_token_id", *configs)
        pad = getattr(model.generation_config, "pad_token_id", None)
        self.ids = Ids(begin, ends, ends[0] if pad is None else pad)
        self.see = model.encoder
        self.head = model.decoder.lm_head
        self.generator = model
        self.caches = 2 * self.config.n_layer

    def decoder(self, codec: nn.Module, places: int) -> nn.Module:
        body = self._model.decoder.transformer
        # There only where the widths differ.
        project = getattr(self._model, "enc_to_dec_proj", nn.Identity())
        text = Text(Words(body.wte, self.head), _Placed(body.wpe), body.ln_f, self.ids)
        return CrossDecoder(
            Sight(codec, project), text, [Gpt2Layer(block) for block in body.h], places
        )

    def generate(self, hidden: Tensor, begin: Tensor) -> Tensor:
        said: Tensor = self._model.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=hidden),
            decoder_input_ids=begin,
        )
        return said


class Gpt2Layer(Layer):
    """Normalized before each part; `block` is transformers' module."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.block = block
        self.heads = block.attn.num_heads
        self.scale = block.attn.scaling
        self.cross_scale = block.crossattention.scaling

    def read(self, x: Tensor) -> Sequence[Tensor]:
        whole = _linear(self.block.attn.c_attn, self.block.ln_1(x))
        return tuple(whole.chunk(3, dim=-1))

    def joined(self, x: Tensor, mixed: Tensor) -> Tensor:
        return x + _linear(self.block.attn.c_proj, mixed)

    def ask(self, x: Tensor) -> Tensor:
        return _linear(self.block.crossattention.q_attn, self.block.ln_cross_attn(x))

    def shown(self, visual: Tensor) -> Sequence[Tensor]:
        return tuple(_linear(self.block.crossattention.c_attn, visual).chunk(2, dim=-1))

    def informed(self, x: Tensor, mixed: Tensor) -> Tensor:
        return x + _linear(self.block.crossattention.c_proj, mixed)

    def feed(self, x: Tensor) -> Tensor:
        return x + self.block.mlp(self.block.ln_2(x))


def _linear(conv: Any, x: Tensor) -> Tensor:
    """Apply transformers' Conv1D to any number of places; its own graph fails with none."""
    projected: Tensor = x @ conv.weight + conv.bias
    return projected


class _Placed(nn.Module):
    """Vectors (B, T, W) of words, and their positions (B, T) -> (B, T, W)."""

    def __init__(self, places: nn.Module) -> None:
        super().__init__()
        self.places = places

    def forward(self, words: Tensor, positions: Tensor) -> Tensor:
        return words + self.places(positions)
