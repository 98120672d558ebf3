"""Golden bytes of the wire format, and a bundle without models."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from aiflow.common.bundle import FORMAT, MANIFEST, Calibration, DecoderFacts, EncoderFacts, Manifest
from aiflow.common.tables import Tables

WORDS = ("<visual>", "<start>", "<end>", "<unknown>", "a", "red", "blue", "bus", "car", "waits")
TOKENS, DIMS, LEVELS = 4, 2, 3


@pytest.fixture(scope="session")
def wire_page() -> dict[str, bytes]:
    """Name and bytes of each block ```hex NAME; what follows two blanks in a line is comment."""
    page = (Path(__file__).parents[2] / "docs" / "wire.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```hex ([\w-]+)\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    examples = {
        name: bytes.fromhex(" ".join(line.split("  ")[0] for line in block.splitlines()))
        for name, block in blocks
    }
    assert len(examples) == len(blocks), "two examples of one name"
    return examples


@pytest.fixture
def made_up_bundle(tmp_path: Path) -> Path:
    """Folder of a bundle of K = 4 tokens in two layers; its models are placeholders."""
    return write_bundle(tmp_path / "bundle")


def write_bundle(folder: Path, *, max_tokens: int = 12) -> Path:
    """Write a bundle of K = 4 tokens in two layers; its models are placeholders."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, "<unknown>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    tokenizer.add_special_tokens(list(WORDS[:4]))
    tokenizer.save(str(folder / "tokenizer.json"))
    kind = [0 if word in ("red", "blue") else -1 for word in WORDS]
    value = [WORDS.index(word) if word in ("red", "blue") else -1 for word in WORDS]
    (folder / "meanings.json").write_text(json.dumps({"kind": kind, "value": value}))
    Tables.uniform(TOKENS, DIMS, LEVELS, (2, TOKENS)).save(folder / "tables.npz")
    (folder / "encoder.onnx").write_bytes(b"a placeholder")
    (folder / "decoder.onnx").write_bytes(b"a placeholder")
    roles = {
        "encoder_onnx": "encoder.onnx",
        "decoder_edge": "decoder.onnx",
        "tables": "tables.npz",
        "tokenizer": "tokenizer.json",
        "meanings": "meanings.json",
    }
    manifest = Manifest(
        format=FORMAT,
        name="made-up",
        version="1",
        license="Apache-2.0",
        description="for tests",
        encoder=EncoderFacts(
            width=32,
            height=24,
            tokens=TOKENS,
            dims=DIMS,
            levels=(LEVELS,) * DIMS,
            layers=(2, TOKENS),
            macs=0,
            parameters=0,
        ),
        decoders={
            "edge": DecoderFacts(
                layers=1,
                heads=1,
                width=2,
                vocabulary=len(WORDS),
                max_tokens=max_tokens,
                input_layers=2,
                parameters=0,
                calibration=(Calibration(),),
            )
        },
        escalate_below=0.5,
        roles=roles,
        sha256={
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in sorted(set(roles.values()))
        },
        training={},
        figures={},
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
    return folder
