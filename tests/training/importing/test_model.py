"""Imported models against transformers itself: in float, in ONNX, and by the captioner."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="needs the extra import")
transformers = pytest.importorskip("transformers", reason="needs the extra import")

from torch import nn  # noqa: E402

from aiflow.common.bundle import (  # noqa: E402
    FORMAT,
    Bundle,
    Calibration,
    DecoderFacts,
    EncoderFacts,
    Manifest,
)
from aiflow.common.captioner import Captioner, Draft, Request  # noqa: E402
from aiflow.common.greedy import END  # noqa: E402
from aiflow.training.export import Cache, export_cached, export_graph  # noqa: E402
from aiflow.training.importing.architecture import Ids  # noqa: E402
from aiflow.training.importing.decoder import NEVER, SHIFT, Text, Words  # noqa: E402
from aiflow.training.importing.model import Foreign, load  # noqa: E402
from aiflow.training.manifest import hashes, write_manifest  # noqa: E402

IMAGES, CODES = 24, 250
UNSAID = {"vit_gpt2": None, "blip": [0, 17], "git": [0, 2]}
"""Padding and begin of each architecture's model, where they are not its end as well."""


class ExactCodec(nn.Module):
    """Knows every token of the test's pictures by number, so that symbols lose nothing."""

    def __init__(self, hidden: Any) -> None:
        super().__init__()
        self.table = nn.Buffer(hidden.flatten(0, 1))

    def forward(self, symbols: Any) -> Any:
        return self.table[symbols[..., 0] * CODES + symbols[..., 1]]


@dataclass(frozen=True)
class Rig:
    """A model, its exported decoder in a bundle, and pictures as tokens (hidden) and symbols."""

    source: Path
    foreign: Foreign
    bundle: Path
    captioner: Captioner
    images: Any
    hidden: Any
    symbols: NDArray[np.uint8]

    def alone(self, symbols: NDArray[np.uint8]) -> Draft:
        (draft,) = self.captioner.caption([Request(symbols)])
        return draft


@pytest.fixture(scope="module", params=UNSAID)
def rig(
    request: pytest.FixtureRequest,
    sources: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Rig:
    source = sources[request.param]
    foreign = load(source)
    width, height = foreign.size
    images = torch.from_numpy(pictures(IMAGES, height, width)).float()
    with torch.no_grad():
        # The decoder's file holds the codec's table as float16.
        hidden = foreign.vision(images).half().float()
    numbers = np.arange(IMAGES * foreign.tokens).reshape(IMAGES, foreign.tokens)
    symbols = np.stack(np.divmod(numbers, CODES), axis=-1).astype(np.uint8)
    folder = tmp_path_factory.mktemp("bundle")
    write_bundle(folder, foreign, hidden)
    captioner = Captioner(Bundle.open(folder), "edge")
    return Rig(source, foreign, folder, captioner, images, hidden, symbols)


def pictures(count: int, height: int, width: int) -> NDArray[np.uint8]:
    """Blocks of colour, which tiny random models tell apart better than noise."""
    rng = np.random.default_rng(2)
    blocks = rng.integers(0, 256, (count, 4, 4, 3)).astype(np.uint8)
    return blocks.repeat(height // 4, axis=1).repeat(width // 4, axis=2)


def write_bundle(folder: Path, foreign: Foreign, hidden: Any) -> None:
    cache = Cache(foreign.layers, foreign.heads, foreign.width)
    decoder = foreign.decoder(ExactCodec(hidden), foreign.tokens)
    export_cached(decoder, folder / "decoder.onnx", 2, cache, before=foreign.tokens - 1)
    (folder / "tokenizer.json").write_text(foreign.tokenizer_json(), encoding="utf-8")
    meanings = {"kind": [0] * foreign.vocabulary, "value": [*range(foreign.vocabulary)]}
    (folder / "meanings.json").write_text(json.dumps(meanings))
    roles = {
        "decoder_edge": "decoder.onnx",
        "tokenizer": "tokenizer.json",
        "meanings": "meanings.json",
    }
    manifest = Manifest(
        format=FORMAT,
        name=foreign.name,
        version="1",
        license="none",
        description="for tests",
        encoder=EncoderFacts(
            width=foreign.size[0],
            height=foreign.size[1],
            tokens=foreign.tokens,
            dims=2,
            levels=(CODES, CODES),
            layers=(4, foreign.tokens),
            macs=0,
            parameters=0,
        ),
        decoders={
            "edge": DecoderFacts(
                layers=foreign.layers,
                heads=foreign.heads,
                width=foreign.width,
                vocabulary=foreign.vocabulary,
                max_tokens=foreign.max_tokens,
                input_layers=2,
                parameters=foreign.parameters,
                calibration=(Calibration(),) * 2,
            )
        },
        escalate_below=0.5,
        roles=roles,
        sha256=hashes(folder, list(roles.values())),
        training={},
        figures={},
    )
    write_manifest(folder, manifest)


@pytest.mark.parametrize(
    "name, caches, heads, max_tokens, ids",
    [
        # Its generation may be 13 ids long, the begin among them.
        ("vit_gpt2", 4, 4, 12, (22, 22, 22)),
        # These two say nothing of it, and have 12 and 30 positions.
        ("blip", 6, 2, 11, (17, 3, 0)),
        ("git", 3, 2, 29, (2, 3, 0)),
    ],
)
def test_the_facts_are_those_of_the_configuration(
    sources: dict[str, Path],
    name: str,
    caches: int,
    heads: int,
    max_tokens: int,
    ids: tuple[int, int, int],
) -> None:
    foreign = load(sources[name])
    assert (foreign.name, foreign.size, foreign.cropped) == (name, (32, 32), False)
    assert (foreign.layers, foreign.heads, foreign.max_tokens) == (caches, heads, max_tokens)
    assert (foreign.tokens, foreign.hidden, foreign.width) == (17, 24, 16)
    known = foreign._architecture.ids
    assert (known.begin, *known.ends, known.pad) == ids


def test_any_of_several_ends_is_the_end_of_ours() -> None:
    """And none of them is said as a word of its own."""
    words = Words(nn.Embedding(7, 4), nn.Linear(4, 7))
    text = Text(words, nn.Identity(), nn.Identity(), Ids(begin=1, ends=(2, 5), pad=0))
    x = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1))
    own, ours = words.logits(x), text.logits(x)
    assert torch.equal(ours[..., END], own[..., [2, 5]].amax(-1))
    never = [one for one in range(7) if bool((ours[..., one + SHIFT] < NEVER / 2).all())]
    assert never == [0, 1, 2, 5]


def captions(drafts: Sequence[Draft]) -> list[list[int]]:
    return [list(draft.tokens) for draft in drafts]


def test_the_captioner_says_what_transformers_says(rig: Rig) -> None:
    wanted = rig.foreign.caption(rig.hidden)
    together = rig.captioner.caption([Request(symbols) for symbols in rig.symbols])
    assert captions(together) == wanted
    assert captions([rig.alone(symbols) for symbols in rig.symbols]) == wanted
    # Otherwise it would prove little.
    assert len({tuple(caption) for caption in wanted}) > IMAGES // 2
    assert {caption[-1] == END for caption in wanted} == {True, False}
    assert max(len(caption) for caption in wanted) == rig.foreign.max_tokens


def test_confidence_is_the_probability_of_the_whole_caption(rig: Rig) -> None:
    """With a calibration that changes nothing, and one class of as many meanings as tokens."""
    decoder = rig.foreign.decoder(ExactCodec(rig.hidden), rig.foreign.tokens)
    for symbols in rig.symbols[:4]:
        draft = rig.alone(symbols)
        with torch.no_grad():
            logits = first_pass(decoder, rig.foreign, symbols, list(draft.tokens[:-1]))
        chosen = logits.log_softmax(-1)[range(len(draft.tokens)), list(draft.tokens)]
        assert draft.confidence == pytest.approx(float(chosen.sum().exp()), rel=1e-3, abs=1e-5)


def first_pass(
    decoder: Any, foreign: Foreign, symbols: NDArray[np.uint8], tokens: list[int]
) -> Any:
    """Logits (T, V) after the start and each of the tokens, in one pass without a cache."""
    places, steps = foreign.tokens, len(tokens) + 1
    mask = torch.ones(places + steps, places + steps).tril().bool()
    mask[:places, :places] = True
    read = torch.zeros(1, places + steps, 2, dtype=torch.long)
    read[0, :places] = torch.from_numpy(symbols.astype(np.int64))
    past = torch.zeros(foreign.layers, 2, 1, foreign.heads, 0, foreign.width // foreign.heads)
    ids = torch.tensor([[0] * places + [1, *tokens]])
    positions = torch.arange(places + steps)[None]
    logits, _ = decoder(ids, read, positions, mask[None], past)
    return logits[0]


def test_whatever_the_draft_the_caption_is_the_greedy_one(rig: Rig) -> None:
    rng = np.random.default_rng(5)
    greedy = rig.captioner.caption([Request(symbols) for symbols in rig.symbols])
    requests = []
    for symbols, own in zip(rig.symbols, greedy, strict=True):
        draft = list(own.tokens[: int(rng.integers(0, len(own.tokens) + 1))])
        if rng.random() < 0.6:
            draft += [int(t) for t in rng.integers(2, rig.foreign.vocabulary, 4)]
        requests.append(Request(symbols, tuple(draft)))
    verified = rig.captioner.caption(requests)
    assert captions(verified) == captions(greedy)
    assert sum(draft.accepted for draft in verified) > 0
    for found, own in zip(verified, greedy, strict=True):
        assert found.confidence == pytest.approx(own.confidence, rel=1e-3, abs=1e-5)


def test_a_right_draft_costs_one_pass(rig: Rig) -> None:
    for symbols in rig.symbols[:8]:
        own = rig.alone(symbols)
        (verified,) = rig.captioner.caption([Request(symbols, own.tokens)])
        assert (verified.tokens, verified.passes) == (own.tokens, 1)
        assert verified.accepted == len(own.tokens)


def test_with_fewer_tokens_it_says_what_transformers_says_of_them(rig: Rig) -> None:
    for count in (1, 4, 11):
        wanted = rig.foreign.caption(rig.hidden[:8, :count])
        drafts = rig.captioner.caption([Request(symbols[:count]) for symbols in rig.symbols[:8]])
        assert captions(drafts) == wanted
        assert wanted != rig.foreign.caption(rig.hidden[:8])


def test_the_yardstick_is_the_model_as_transformers_loads_and_runs_it(rig: Rig) -> None:
    with (rig.source / "config.json").open() as file:
        (name,) = json.load(file)["architectures"]
    model = getattr(transformers, name).from_pretrained(rig.source).eval()
    # Ours are BGR.
    red_first = rig.images.numpy().astype(np.uint8)[..., ::-1]
    processor = transformers.ViTImageProcessorPil.from_pretrained(rig.source)
    pixels = processor(list(red_first), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        said = model.generate(
            pixel_values=pixels,
            num_beams=1,
            do_sample=False,
            suppress_tokens=UNSAID[rig.source.name],
            max_length=rig.foreign.max_tokens + 1,
        )
        found = rig.foreign.caption(rig.foreign.vision(rig.images))
    for line, caption in zip(said.tolist(), found, strict=True):
        own = [token - 3 for token in caption if token != END]
        assert line[1 : 1 + len(own)] == own


def test_tied_word_vectors_are_stored_once(rig: Rig) -> None:
    import onnx  # noqa: PLC0415

    stored = onnx.load(str(rig.bundle / "decoder.onnx")).graph.initializer
    vocabulary, width = rig.foreign.vocabulary - 3, rig.foreign.width
    tables = [tensor for tensor in stored if sorted(tensor.dims) == sorted((vocabulary, width))]
    # GIT has two of its own.
    assert len(tables) == (2 if rig.source.name == "git" else 1)


def test_the_vision_model_exports_to_onnx(rig: Rig, tmp_path: Path) -> None:
    import onnxruntime  # noqa: PLC0415

    path = tmp_path / "vision.onnx"
    export_graph(rig.foreign.vision, (rig.images[:1],), path, ["image"], ["hidden"], {})
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for index in range(3):
        image = rig.images[index : index + 1]
        with torch.no_grad():
            wanted = rig.foreign.vision(image).numpy()
        (found,) = session.run(None, {"image": image.numpy()})
        np.testing.assert_allclose(found, wanted, atol=2e-4)


def test_text_is_what_the_models_own_tokenizer_says(rig: Rig) -> None:
    own = transformers.PreTrainedTokenizerFast(tokenizer_file=str(rig.source / "tokenizer.json"))
    for symbols in rig.symbols:
        draft = rig.alone(symbols)
        ids = [token - 3 for token in draft.tokens if token != END]
        assert draft.text == own._tokenizer.decode(ids, skip_special_tokens=True).strip()
