"""The training graph and the captioner must agree on masks, positions and caching."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")
onnx = pytest.importorskip("onnx", reason="needs the extra train")

from aiflow.training.decoder import VISUAL, Decoder, DecoderShape  # noqa: E402
from aiflow.training.export import export_decoder  # noqa: E402
from aiflow.training.train_decoder import training_mask  # noqa: E402

SHAPE = DecoderShape(
    vocabulary=20, width=16, layers=2, heads=2, tokens=4, dims=2, levels=3, positions=20, adapter=8
)


def test_cached_steps_give_the_same_logits_as_one_parallel_pass() -> None:
    torch.manual_seed(1)
    decoder = Decoder(SHAPE).eval()
    ids = torch.tensor([[VISUAL] * 4 + [1, 5, 6, 7]])
    symbols = torch.randint(0, 3, (1, 8, 2))
    symbols[:, 4:] = 0
    positions = torch.arange(8)[None]
    mask = training_mask(torch.tensor([4]), 4, 4)
    whole, _ = decoder(ids, symbols, positions, mask, None)
    past = torch.zeros(2, 2, 1, 2, 0, 8)
    first, present = decoder(ids[:, :5], symbols[:, :5], positions[:, :5], mask[:, :5, :5], past)
    rows = [first]
    for step in range(5, 8):
        past = torch.cat([past, present], dim=4)
        cut = slice(step, step + 1)
        logits, present = decoder(
            ids[:, cut], symbols[:, cut], positions[:, cut], mask[:, cut, : step + 1], past
        )
        rows.append(logits)
    torch.testing.assert_close(torch.cat(rows, dim=1), whole, atol=1e-5, rtol=1e-4)


def test_absent_task_tokens_change_nothing() -> None:
    torch.manual_seed(1)
    decoder = Decoder(SHAPE).eval()
    ids = torch.tensor([[VISUAL] * 4 + [1, 5]])
    positions = torch.arange(6)[None]
    mask = training_mask(torch.tensor([2]), 4, 2)
    outputs = []
    for value in (0, 2):
        symbols = torch.ones(1, 6, 2, dtype=torch.long)
        symbols[:, 2:4] = value
        outputs.append(decoder(ids, symbols, positions, mask, None)[0][:, 4:])
    torch.testing.assert_close(outputs[0], outputs[1])


def test_exported_decoder_holds_its_tied_embedding_once(tmp_path: Path) -> None:
    torch.manual_seed(1)
    path = tmp_path / "decoder.onnx"
    decoder = Decoder(SHAPE).eval()
    export_decoder(decoder, path)
    shapes = [sorted(tensor.dims) for tensor in onnx.load(str(path)).graph.initializer]
    assert shapes.count([16, SHAPE.vocabulary]) == 2, "words, and as many places"
    ids, symbols = torch.tensor([[VISUAL] * 4 + [1, 5]]), torch.randint(0, 3, (1, 6, 2))
    positions, mask = torch.arange(6)[None], training_mask(torch.tensor([4]), 4, 2)
    past = torch.zeros(2, 2, 1, 2, 0, 8)
    given = {"ids": ids, "symbols": symbols, "positions": positions, "mask": mask, "past": past}
    logits = ort.InferenceSession(str(path)).run(
        ["logits"], {k: v.numpy() for k, v in given.items()}
    )
    whole, _ = decoder(ids, symbols, positions, mask, None)
    np.testing.assert_allclose(logits[0], whole.detach().numpy(), atol=5e-3)
