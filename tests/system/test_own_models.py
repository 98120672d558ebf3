"""An imported model in the real tiers: random weights, real processes, a folder as the camera."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra import")
pytest.importorskip("transformers", reason="needs the extra import")

import torch
from tests.system.conftest import START_S, System, wait_until
from tests.training.importing.conftest import vit_gpt2
from tests.training.importing.made_up import write_images

from aiflow.cli import main
from aiflow.client import Broker, Embeddings
from aiflow.common.bundle import Bundle
from aiflow.common.captioner import Captioner, Request
from aiflow.common.encoder import Encoder
from aiflow.common.messages import Caption, caption_id
from aiflow.training.importing.model import load
from aiflow.training.importing.pictures import OwnImages

IMAGES = 32


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"), IMAGES)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "tiny-captioner"
    vit_gpt2(folder)
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, images: Path, source: Path) -> Bundle:
    """With more stages than pay, since captions of random weights hang on trifles."""
    out = tmp_path_factory.mktemp("imported") / "own"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    command = ["bundle", "import", str(source), "--images", str(images), "--out", str(out)]
    assert main.run([*command, "--license", "MIT", "--stages", "24"]) == 0
    torch.set_num_threads(threads)
    return Bundle.open(out)


@pytest.fixture
def system(tmp_path: Path, bundle: Bundle, images: Path) -> Iterator[System]:
    with System(tmp_path, fps=5.0, bundle=str(bundle.path), uri=f"{images}?loop=1") as whole:
        yield whole


def test_the_commands_know_it(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["bundle", "verify", str(bundle.path)]) == 0
    assert main.run(["bundle", "info", str(bundle.path)]) == 0
    text = capsys.readouterr().out
    assert "own 1 (MIT)" in text
    assert "source: tiny-captioner" in text


def test_edge_and_cloud_say_what_its_captioner_says(system: System, bundle: Bundle) -> None:
    system.configure("edge", "threshold = 1.0")
    captioner = Captioner(bundle, "edge")
    said: dict[str, str] = {}
    compared: list[Caption] = []
    with Embeddings(Broker(port=system.broker.port), bundles=[bundle.path]) as embeddings:
        system.start()
        deadline = time.monotonic() + START_S
        while sum(caption.tier == "cloud" for caption in compared) < 4:
            assert time.monotonic() < deadline, "captions of the cloud"
            frame = embeddings.next(1.0)
            if frame is not None:
                (draft,) = captioner.caption([Request(frame.symbols)])
                id_ = caption_id(frame.device, frame.camera, frame.epoch_ms, frame.sequence)
                said[id_] = draft.text
            compared = [caption for caption in system.captions() if caption.id in said]
    assert {caption.tier for caption in compared} == {"edge", "cloud"}
    assert all(caption.text == said[caption.id] for caption in compared)
    assert len(set(said.values())) > 2


def test_a_device_alone_says_what_transformers_says_of_its_pictures(
    system: System, bundle: Bundle, images: Path, source: Path
) -> None:
    """Where the codec has lost nothing that matters, which is so for some of them."""
    model, captioner, encoder = load(source), Captioner(bundle, "nano"), Encoder.load(bundle)
    pictures = list(OwnImages(images).read(model.size))
    with torch.no_grad():
        hidden = model.vision(torch.from_numpy(np.stack(pictures)).float())
    whole = [captioner.decode(ids) for ids in model.caption(hidden)]
    drafts = captioner.caption([Request(encoder.encode(image).symbols) for image in pictures])
    own = [draft.text for draft in drafts]
    kept = {text for text, other in zip(own, whole, strict=True) if text == other}
    assert len(kept) > 2
    system.mode("device")
    system.start("device")
    wait_until(
        lambda: len(kept & {caption.text for caption in system.captions()}) > 2,
        START_S,
        "captions by transformers",
    )
    captions = system.captions()
    assert {caption.text for caption in captions} <= set(own)
    assert {caption.tier for caption in captions} == {"device"}
