"""BLIP and GIT: captioners whose decoder has the layers of BERT (Devlin et al., arXiv 1810.04805).

BLIP (arXiv 2201.12086) looks at the picture by cross-attention, GIT (arXiv 2205.14100) has visual
tokens in front of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from aiflow.common.errors import SourceInvalid
from aiflow.training.importing.architecture import Architecture, Ids, token_id, token_ids
from aiflow.training.importing.decoder import CrossDecoder, Layer, PrefixDecoder, Sight, Text, Words


class Blip(Architecture):
    """BlipForConditionalGeneration, without a prompt."""

    name = "BlipForConditionalGeneration"

    def __init__(self, model: Any) -> None:
        self._model = model
        self.config = model.config.text_config
        # BLIP ends at its separator, whatever eos_token_id says.
        ends = token_ids("sep_token_id", self.config)
        begin = token_id("bos_token_id", self.config)
        self.ids = Ids(begin, ends, token_id("pad_token_id", self.config))
        self.see = model.vision_model
        self.head = model.text_decoder.cls.predictions.decoder
        self.generator = model.text_decoder
        self.caches = 2 * self.config.num_hidden_layers

    def decoder(self, codec: nn.Module, places: int) -> nn.Module:
        body = self._model.text_decoder.bert
        words = Words(body.embeddings.word_embeddings, self.head)
        last = self._model.text_decoder.cls.predictions.transform
        text = Text(words, BertEmbedding(body.embeddings), last, self.ids)
        layers = [BertLayer(layer) for layer in body.encoder.layer]
        return CrossDecoder(Sight(codec, nn.Identity()), text, layers, places)

    def generate(self, hidden: Tensor, begin: Tensor) -> Tensor:
        said: Tensor = self.generator.generate(
            input_ids=begin,
            attention_mask=torch.ones_like(begin),
            encoder_hidden_states=hidden,
            encoder_attention_mask=torch.ones(hidden.shape[:2], dtype=torch.long),
        )
        return said


class Git(Architecture):
    """GitForCausalLM, without a prompt."""

    name = "GitForCausalLM"

    def __init__(self, model: Any) -> None:
        if model.config.num_image_with_embedding is not None:
            raise SourceInvalid(
                "this GIT captions videos, several pictures at a time; import one for pictures"
            )
        self._model = model
        self.config = model.config
        configs = (model.generation_config, self.config)
        self.ids = Ids(
            token_id("bos_token_id", *configs),
            token_ids("eos_token_id", *configs),
            token_id("pad_token_id", *configs),
        )
        self.see = model.git.image_encoder
        # generate() takes nothing but pixels: from now on its encoder passes on what it is given.
        model.git.image_encoder = _PassOn()
        self.head = model.output
        self.generator = model
        self.caches = self.config.num_hidden_layers

    def decoder(self, codec: nn.Module, places: int) -> nn.Module:
        body = self._model.git
        words = Words(body.embeddings.word_embeddings, self.head)
        text = Text(words, BertEmbedding(body.embeddings), nn.Identity(), self.ids)
        layers = [BertLayer(layer) for layer in body.encoder.layer]
        return PrefixDecoder(Sight(codec, body.visual_projection), text, layers, places)

    def generate(self, hidden: Tensor, begin: Tensor) -> Tensor:
        # So many of the cached places are visual; transformers counts the patches of a picture.
        first = self._model.git.encoder.layer[0].attention.self
        first.image_patch_tokens = hidden.shape[1]
        said: Tensor = self._model.generate(
            pixel_values=hidden[:, None],
            input_ids=begin,
            attention_mask=torch.ones_like(begin),
        )
        return said


class _PassOn(nn.Module):
    """Takes hidden states (B, 1, N, D) for pixels, and has seen them already."""

    def forward(self, pixel_values: Tensor, **_: Any) -> BaseModelOutput:
        return BaseModelOutput(last_hidden_state=pixel_values[:, 0])


class BertLayer(Layer):
    """Normalized after each part; `layer` is transformers' module."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer
        own = layer.attention.self
        self.heads = own.num_attention_heads
        self.scale = self.cross_scale = own.attention_head_size**-0.5

    def read(self, x: Tensor) -> Sequence[Tensor]:
        own = self.layer.attention.self
        return own.query(x), own.key(x), own.value(x)

    def joined(self, x: Tensor, mixed: Tensor) -> Tensor:
        after: Tensor = self.layer.attention.output(mixed, x)
        return after

    def ask(self, x: Tensor) -> Tensor:
        query: Tensor = self.layer.crossattention.self.query(x)
        return query

    def shown(self, visual: Tensor) -> Sequence[Tensor]:
        across = self.layer.crossattention.self
        return across.key(visual), across.value(visual)

    def informed(self, x: Tensor, mixed: Tensor) -> Tensor:
        after: Tensor = self.layer.crossattention.output(mixed, x)
        return after

    def feed(self, x: Tensor) -> Tensor:
        after: Tensor = self.layer.feed_forward_chunk(x)
        return after


class BertEmbedding(nn.Module):
    """Vectors (B, T, W) of words, and their positions (B, T) -> (B, T, W)."""

    def __init__(self, embeddings: Any) -> None:
        super().__init__()
        self.places = embeddings.position_embeddings
        self.norm = embeddings.LayerNorm

    def forward(self, words: Tensor, positions: Tensor) -> Tensor:
        embedded: Tensor = self.norm(words + self.places(positions))
        return embedded
