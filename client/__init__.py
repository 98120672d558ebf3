"""Captions and embeddings in a program of your own. Imports `aiflow.common` only.

    from aiflow.client import Broker, Captions

    for caption in Captions(Broker(host="broker.local")):
        print(caption.camera, caption.text)

docs/python.md has more.
"""

from __future__ import annotations

from aiflow.client.captions import Captions
from aiflow.client.embeddings import Embedding, Embeddings
from aiflow.common.config import Broker
from aiflow.common.messages import Caption

__all__ = ["Broker", "Caption", "Captions", "Embedding", "Embeddings"]
