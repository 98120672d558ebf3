"""The files of an imported bundle: models, tokenizer, meanings. All but tables and manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, Literal

from aiflow.common.errors import BundleInvalid
from aiflow.training.export import Cache, export_cached
from aiflow.training.importing.encoder import ImportedEncoder, export_encoder, quantize_encoder
from aiflow.training.importing.model import Foreign
from aiflow.training.progress import Bar

Precision = Literal["both", "int8", "float"]
"""Of the encoder: what devices run, int8 with float beside it, or one of them alone."""
TIERS: Final = ("nano", "edge", "cloud")
MAX_FILE_BYTES: Final = 1 << 30
"""Of a file that a bundle can have."""
ROLES: Final = {
    "encoder_onnx": "encoder.onnx",
    "encoder_float": "encoder.float.onnx",
    **{f"decoder_{tier}": "decoder.onnx" for tier in TIERS},
    "tables": "tables.npz",
    "tokenizer": "tokenizer.json",
    "meanings": "meanings.json",
}


def write_models(
    foreign: Foreign, encoder: ImportedEncoder, folder: Path, precision: Precision = "both"
) -> dict[str, str]:
    """Write encoder and decoder; returns the bundle's roles.

    Of "both", a float encoder that is too large for a bundle is left out. Raises BundleInvalid if
    another file is too large.
    """
    roles = dict(ROLES)
    whole = folder / ROLES["encoder_float"]
    with Bar("export, models", 3) as bar:
        export_encoder(encoder, foreign.size, whole)
        bar.show(1)
        if precision == "float":
            roles["encoder_onnx"] = roles["encoder_float"]
        else:
            quantize_encoder(whole, folder / ROLES["encoder_onnx"])
            if precision == "int8" or whole.stat().st_size > MAX_FILE_BYTES:
                whole.unlink()
                del roles["encoder_float"]
        bar.show(2)
        places = encoder.merge.tokens
        decoder = foreign.decoder(encoder.codec, places).eval()
        cache = Cache(foreign.layers, foreign.heads, foreign.width)
        path = folder / ROLES["decoder_edge"]
        export_cached(decoder, path, encoder.codec.stages, cache, before=places + 1)
        bar.show(3)
    for path in folder.glob("*.onnx"):
        if path.stat().st_size > MAX_FILE_BYTES:
            size, most = path.stat().st_size / 1e9, MAX_FILE_BYTES / 1e9
            raise BundleInvalid(
                f"{foreign.name} is too large: its {path.name} has {size:.2f} GB, and a bundle's "
                f"files have {most:.2f} at most; take a smaller model"
            )
    return roles


def write_words(foreign: Foreign, folder: Path) -> None:
    """Write tokenizer and meanings.

    Each token is a statement of its own, so that confidence is about the whole caption.
    """
    (folder / ROLES["tokenizer"]).write_text(foreign.tokenizer_json(), encoding="utf-8")
    ids = list(range(foreign.vocabulary))
    meanings = json.dumps({"kind": [0] * len(ids), "value": ids})
    (folder / ROLES["meanings"]).write_text(meanings, encoding="utf-8")
