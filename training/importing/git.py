"""GIT: visual tokens in front of the text, in one decoder (arXiv 2205.14100)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from aiflow.common.errors import SourceInvalid
from aiflow.training.importing.architecture import Architecture, Ids, token_id, token_ids
from aiflow.training.importing.bert import BertEmbedding, BertLayer
from aiflow.training.importing.decoder import PrefixDecoder, Sight, Text, Words


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
