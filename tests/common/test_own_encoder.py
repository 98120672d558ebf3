"""An encoder that is not ours, in a bundle of its owner: what docs/runtimes.md promises."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from aiflow.common.bundle import FORMAT, MANIFEST, Bundle, EncoderFacts, Manifest
from aiflow.common.codec import Tables, compress, decompress
from aiflow.common.encoder import Encoder
from aiflow.common.errors import BundleInvalid

pytest.importorskip("ai_edge_litert", reason="needs the extra tflite")

VECTORS = Path(__file__).parents[1] / "vectors" / "models.npz"


@pytest.fixture
def vectors() -> dict[str, NDArray[Any]]:
    with np.load(VECTORS) as file:
        return dict(file)


def own_bundle(folder: Path, model: bytes, *, tokens: int, size: int = 32) -> Bundle:
    folder.mkdir(exist_ok=True)
    (folder / "vector.tflite").write_bytes(model)
    Tables.uniform(tokens, 4, 5).save(folder / "tables.npz")
    roles = {"encoder_tflite": "vector.tflite", "tables": "tables.npz"}
    manifest = Manifest(
        format=FORMAT,
        name="mine",
        version="1",
        license="MIT",
        description="",
        encoder=EncoderFacts(
            width=size,
            height=size,
            tokens=tokens,
            dims=4,
            levels=(5,) * 4,
            layers=(tokens,),
            macs=0,
            parameters=0,
        ),
        decoders={},
        escalate_below=0.5,
        roles=roles,
        sha256={
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in roles.values()
        },
        training={},
        figures={},
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(), encoding="utf-8")
    return Bundle.open(folder)


def test_a_vector_of_12_becomes_3_tokens_of_4(
    vectors: dict[str, NDArray[Any]], tmp_path: Path
) -> None:
    bundle = own_bundle(tmp_path / "mine", vectors["vector_tflite"].tobytes(), tokens=3)
    encoder = Encoder.load(bundle, "litert")
    image = vectors["blots"][2].repeat(8, axis=0).repeat(8, axis=1)
    encoding = encoder.encode(image)
    wanted = np.clip(np.rint(vectors["vectors"][2].reshape(3, 4) + 2), 0, 4)
    assert np.mean(encoding.symbols == wanted) > 0.9
    body = compress(encoding.symbols, bundle.tables)
    assert np.array_equal(decompress(body, bundle.tables), encoding.symbols)


@pytest.mark.parametrize("tokens,size", [(2, 32), (5, 32), (3, 48)])
def test_a_manifest_that_tells_other_shapes_is_refused(
    tokens: int, size: int, vectors: dict[str, NDArray[Any]], tmp_path: Path
) -> None:
    model = vectors["vector_tflite"].tobytes()
    bundle = own_bundle(tmp_path / "mine", model, tokens=tokens, size=size)
    with pytest.raises(BundleInvalid, match="manifest"):
        Encoder.load(bundle, "litert")
