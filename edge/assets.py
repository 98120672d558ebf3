"""What an edge node reads from files before it works: bundle, keys, examples, its ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from aiflow.common.bundle import Bundle, BundleCoding
from aiflow.common.captioner import Captioner, Request
from aiflow.common.encoder import Encoder
from aiflow.edge.config import EdgeConfig, ledger_path, read_key
from aiflow.edge.decoder import EdgeModel
from aiflow.edge.examples import read_examples
from aiflow.edge.image_encoder import ImageEncoder
from aiflow.edge.ledger import Ledger
from aiflow.edge.policy import AskLimits, Judgement, Repairs
from aiflow.edge.triggers import Triggers


@dataclass(frozen=True, slots=True)
class Assets:
    """All of it; `device_keys` by the name of the device that must sign."""

    coding: BundleCoding
    model: EdgeModel
    device_keys: Mapping[str, bytes]
    triggers: Triggers
    ledger: Ledger


@contextmanager
def opened(config: EdgeConfig) -> Iterator[Assets]:
    """Read everything; the ledger is closed at the end.

    Raises BundleError, ConfigError and StorageError for what cannot be used.
    """
    bundle = Bundle.open(config.bundle)
    captions = Captioner(bundle, "edge", config.threads)
    # The first run of a model is the slowest; better now than with somebody's first frame.
    captions.caption([Request(np.zeros((bundle.tokens, bundle.dims), np.uint8))])
    encoder = ImageEncoder(lambda: Encoder.load(bundle, threads=config.threads), bundle.tables)
    triggers = Triggers(config.trigger, examples=read_examples(config, bundle.id))
    keys = {device: read_key(device, path) for device, path in config.device_keys.items()}
    with Ledger(ledger_path(config)) as ledger:
        yield Assets(
            BundleCoding(bundle.id, bundle.tag, bundle.tables),
            EdgeModel(captions, encoder, _judgement(config, bundle)),
            keys,
            triggers,
            ledger,
        )


def _judgement(config: EdgeConfig, bundle: Bundle) -> Judgement:
    manifest, threshold = bundle.manifest, config.threshold
    limits = AskLimits(
        manifest.escalate_below if threshold is None else threshold,
        config.escalations_per_minute,
        config.max_pending,
        config.refines_per_minute,
    )
    return Judgement(limits, Repairs.of(manifest.figures, len(bundle.layers)))
