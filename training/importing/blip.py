"""BLIP: a vision transformer, and BERT as a decoder with cross-attention (arXiv 2201.12086)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from aiflow.training.importing.architecture import Architecture, Ids, token_id, token_ids
from aiflow.training.importing.bert import BertEmbedding, BertLayer
from aiflow.training.importing.decoder import CrossDecoder, Sight, Text, Words


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
