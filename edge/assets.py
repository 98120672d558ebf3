"""What an edge node reads from files before it works: bundle, keys, examples, its ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from aiflow.common.bundle import Bundle, BundleCoding, open_bundles
from aiflow.common.captioner import warm_captioners
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

    codings: Sequence[BundleCoding]
    """Of the node's bundles."""
    model: EdgeModel
    device_keys: Mapping[str, bytes]
    triggers: Triggers
    ledger: Ledger

    @property
    def bundle_ids(self) -> str:
        """The beginnings of the bundles' ids, for people."""
        return ", ".join(coding.bundle_id[:12] for coding in self.codings)


@contextmanager
def opened(config: EdgeConfig) -> Iterator[Assets]:
    """Read everything; the ledger is closed at the end.

    Raises BundleError, ConfigError and StorageError for what cannot be used.
    """
    bundles = {bundle.id: bundle for bundle in open_bundles(config.bundle)}
    captions = warm_captioners(bundles.values(), "edge", config.threads)
    encoder = ImageEncoder(
        lambda bundle_id: Encoder.load(bundles[bundle_id], threads=config.threads)
    )
    judgements = {bundle_id: _judgement(config, bundle) for bundle_id, bundle in bundles.items()}
    triggers = Triggers(config.trigger, examples=read_examples(config, bundles))
    keys = {device: read_key(device, path) for device, path in config.device_keys.items()}
    with Ledger(ledger_path(config)) as ledger:
        yield Assets(
            [BundleCoding.of(bundle) for bundle in bundles.values()],
            EdgeModel(captions, encoder, judgements),
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
