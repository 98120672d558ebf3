"""The photo bundle, stage by stage: `scripts/train photo --data DIR`.

    stems -> text -> joint -> symbols -> reward -> taught -> follow -> export -> tables -> finish

What the trunk's untrained part gives is kept on disk, for each photo and some variants of it; so
no stage after the first touches a picture, but for the streams of the delta tables.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from aiflow.common.bundle import FORMAT, Bundle, Calibration, DecoderFacts, EncoderFacts, Manifest
from aiflow.common.encoder import Encoder
from aiflow.common.runtime import OnnxModel
from aiflow.street.sensor import expose, sample_condition
from aiflow.training import efficientnet, photo_data, photo_train
from aiflow.training.cider import CiderD
from aiflow.training.decoder import Decoder, DecoderShape
from aiflow.training.export import export_decoder, export_photo_encoder, quantize_photo_encoder
from aiflow.training.fit_tables import fit_delta, fit_free_tables
from aiflow.training.manifest import hashes, write_manifest
from aiflow.training.photo_calibrate import calibrate, meanings
from aiflow.training.photo_encoder import PhotoEncoder, PhotoShape, symbols_of
from aiflow.training.photo_train import Ids, Stems
from aiflow.training.progress import Bar
from aiflow.training.recipe import PhotoDecoderRecipe, PhotoRecipe
from aiflow.training.stages import Stages, commit, macs, parameters, set_up_torch
from aiflow.training.text import SPECIAL

log = logging.getLogger(__name__)

BATCH: Final = 32
CALIBRATION_PHOTOS: Final = 256
STREAM_PHOTOS: Final = 1200
NOISE_PHOTOS: Final = 300
LICENSE: Final = (
    "Weights for research, not for commerce: they were learned from Flickr8k's photos, whose terms "
    "say so. The trunk began as EfficientNet-Lite0 (Apache-2.0)."
)
DESCRIPTION: Final = "Captions of real photos, in the manner of Flickr8k; wrong about one in four."


class PhotoRun(Stages):
    """One run of a photo recipe."""

    def __init__(self, recipe: PhotoRecipe, folder: Path, data: Path, texts: list[Path]) -> None:
        """Raises ConfigError when `data` is no data set of photos."""
        super().__init__(folder)
        self.recipe, self.shape = recipe, PhotoShape()
        self.photos = photo_data.load(data)
        self._text_files = texts

    @cached_property
    def words(self) -> list[str]:
        """The vocabulary, by token id."""
        path = self.folder / "words.json"
        if not path.exists():
            said = [photo_data.words(c) for p in self.photos["train"] for c in p.captions]
            self.write_json(
                path.name, photo_data.vocabulary(said, self._texts, self.recipe.at_least)
            )
        return [*SPECIAL, *json.loads(path.read_text(encoding="utf-8"))]

    @cached_property
    def _texts(self) -> list[tuple[str, ...]]:
        held = [*self.photos["dev"], *self.photos["test"]]
        return photo_data.texts(self._text_files, held)

    @cached_property
    def captions(self) -> Ids:
        """Of the training photos (N, 5, T); where there are fewer, they come again."""
        rows = []
        for photo in self.photos["train"]:
            said = [photo_data.words(caption) for caption in photo.captions]
            rows += [said[index % len(said)] for index in range(5)]
        return photo_data.token_ids(rows, self.words[len(SPECIAL) :]).reshape(
            len(self.photos["train"]), 5, -1
        )

    # Stages, in order.

    def stems(self) -> None:
        """Run the trunk's untrained part over the photos, and variants of the training ones."""
        trunk = efficientnet.with_imagenet_weights()
        photos = [*self.photos["train"], *self.photos["dev"], *self.photos["test"]]
        count = {0: len(photos)} | dict.fromkeys(
            range(1, self.recipe.variants), len(self.photos["train"])
        )
        classes = self._array("classes", (len(photos), efficientnet.CLASSES))
        with Bar("stems", sum(count.values())) as bar, torch.no_grad():
            done = 0
            for variant, size in count.items():
                maps = self._array(f"stems{variant}", (size, 192, 7, 7))
                for start in range(0, size, BATCH):
                    rows = range(start, min(start + BATCH, size))
                    images = np.stack([self._picture(photos[row], variant, row) for row in rows])
                    features = trunk.stem_features(torch.from_numpy(images))
                    maps[rows.start : rows.stop] = features.numpy()
                    if variant == 0:
                        logits = trunk.classes(trunk.tail_features(features))
                        classes[rows.start : rows.stop] = logits.numpy()
                    bar.show(done := done + len(rows))

    def _picture(self, photo: photo_data.Photo, variant: int, row: int) -> NDArray[np.uint8]:
        image = photo_data.read(photo, efficientnet.SIDE)
        if variant == 0:
            return image
        return photo_data.varied(image, np.random.default_rng((self.recipe.seed, variant, row)))

    def _array(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float16]:
        path = self.folder / f"{name}.npy"
        made: NDArray[np.float16] = np.lib.format.open_memmap(path, "w+", np.float16, shape)
        return made

    def text(self, tier: str) -> None:
        """Teach a decoder to write."""
        recipe = self.recipe.decoders[tier]
        said = [tuple(photo_data.words(c)) for p in self.photos["train"] for c in p.captions]
        ids = photo_data.token_ids([*self._texts, *said], self.words[len(SPECIAL) :])
        decoder = Decoder(self._decoder_shape(tier))
        to = self.folder / f"text-{tier}.pt"
        photo_train.train_text(decoder, ids, recipe.text_steps, 96, recipe.learning_rate, to)

    def joint(self) -> None:
        """Train the encoder with its bottleneck, and the cloud's decoder."""
        encoder = PhotoEncoder(self.shape, efficientnet.with_imagenet_weights())
        decoder = self._decoder("cloud", "text-cloud.pt")
        joint, to = self.recipe.joint, self.folder / "joint.pt"
        photo_train.train_joint(
            encoder, decoder, self._stems(), self.captions, joint.steps, joint.photos,
            joint.captions, to,
        )  # fmt: skip

    def symbols(self) -> None:
        """Cache the task tokens of all photos and variants."""
        encoder = self._encoder()
        with torch.no_grad():
            for variant in range(self.recipe.variants):
                maps = np.load(self.folder / f"stems{variant}.npy", mmap_mode="r")
                rows = [
                    symbols_of(
                        encoder.from_stem(torch.from_numpy(maps[at : at + 100].astype(np.float32))),
                        self.shape.levels,
                    ).numpy()
                    for at in range(0, len(maps), 100)
                ]
                np.save(
                    self.folder / f"symbols{variant}.npy", np.concatenate(rows).astype(np.uint8)
                )

    def reward(self) -> None:
        """Train the cloud's decoder for whole captions."""
        references = [[photo_data.words(c) for c in p.captions] for p in self.photos["train"]]
        photo_train.train_reward(
            self._decoder("cloud", "joint.pt"), self._symbols(), CiderD(references), self.words,
            self.shape.layers, self.recipe.reward_steps, self.folder / "reward.pt",
        )  # fmt: skip

    def taught(self) -> None:
        """Write down what the cloud's decoder says of every variant."""
        decoder = self._trained("cloud")
        rows = []
        for symbols in self._symbols():
            said = photo_train.greedy(decoder, symbols, self.shape.tokens)
            ids = np.zeros((len(said), photo_data.MAX_TOKENS), np.int16)
            for row, tokens in zip(ids, said, strict=True):
                row[: len(tokens) + 1] = [*tokens, 2]
            rows.append(ids)
        np.save(self.folder / "taught.npy", np.stack(rows))

    def follow(self, tier: str) -> None:
        """Train one of the smaller decoders."""
        recipe = self.recipe.decoders[tier]
        photo_train.train_follow(
            self._decoder(tier, f"text-{tier}.pt"), self._symbols(),
            list(np.load(self.folder / "taught.npy")), self.captions, self.shape.layers,
            recipe.steps, recipe.learning_rate, self.recipe.seed, self.folder / f"follow-{tier}.pt",
        )  # fmt: skip

    def export(self) -> None:
        """Export everything to the bundle's files."""
        encoder = self._encoder()
        export_photo_encoder(encoder, self.bundle / "encoder.float.onnx")
        images = self._calibration_pictures()
        quantize_photo_encoder(encoder, self.bundle / "encoder.onnx", images)
        for tier in self.recipe.decoders:
            export_decoder(self._trained(tier), self.bundle / f"decoder-{tier}.onnx")
        tokenizer = photo_data.tokenizer(self.words[len(SPECIAL) :])
        tokenizer.save(str(self.bundle / "tokenizer.json"))
        kind, value = meanings(self.words)
        text = json.dumps({"kind": kind, "value": value}) + "\n"
        (self.bundle / "meanings.json").write_text(text, encoding="utf-8")

    def _calibration_pictures(self) -> list[NDArray[np.uint8]]:
        """Of training photos, half of them varied."""
        photos = self.photos["train"][:CALIBRATION_PHOTOS]
        return [self._picture(photo, row % 2, row) for row, photo in enumerate(photos)]

    def tables(self) -> None:
        """Fit the codec's tables, for frames that stand alone and for changes."""
        encoder, rng = self._encoder(), np.random.default_rng(self.recipe.seed)
        photos = self.photos["train"][:STREAM_PHOTOS]
        pairs = []
        with Bar("streams", len(photos)) as bar, torch.no_grad():
            for index, photo in enumerate(photos):
                image = photo_data.read(photo, efficientnet.SIDE)
                other = photo_data.read(photos[index - 1], efficientnet.SIDE)
                frames = np.stack(photo_data.two_frames(image, other, rng))
                pairs.append(
                    symbols_of(encoder(torch.from_numpy(frames)), self.shape.levels).numpy()
                )
                bar.show(index + 1)
        before, after = np.stack(pairs).astype(np.uint8).swapaxes(0, 1)
        delta = fit_delta(before, after, self.shape.levels, 0)
        symbols = np.concatenate(self._symbols())
        fit_free_tables(symbols, self.shape.levels, self.shape.layers, delta).save(
            self.bundle / "tables.npz"
        )

    def finish(self) -> None:
        """Write the manifest, calibrate confidence with it on the dev photos, write it again."""
        manifest = self._manifest()
        write_manifest(self.bundle, manifest)
        dev = self.photos["dev"]
        images = [photo_data.read(photo, efficientnet.SIDE) for photo in dev]
        references = [[photo_data.words(c) for c in photo.captions] for photo in dev]
        calibrated = calibrate(Bundle.open(self.bundle), manifest, images, references)
        identity = write_manifest(self.bundle, calibrated)
        log.info("bundle %s (%s) is in %s", self.recipe.name, identity[:12], self.bundle)

    # What stages share.

    def _stems(self) -> Stems:
        """Of the training photos."""
        count = len(self.photos["train"])
        maps = [
            np.load(self.folder / f"stems{variant}.npy", mmap_mode="r")[:count]
            for variant in range(self.recipe.variants)
        ]
        return Stems(maps, np.load(self.folder / "classes.npy", mmap_mode="r")[:count])

    def _symbols(self) -> list[NDArray[np.uint8]]:
        """Of the training photos, by variant."""
        count = len(self.photos["train"])
        return [
            np.load(self.folder / f"symbols{variant}.npy")[:count]
            for variant in range(self.recipe.variants)
        ]

    def _encoder(self) -> PhotoEncoder:
        encoder = PhotoEncoder(self.shape, efficientnet.EfficientNetLite0())
        encoder.load_state_dict(self._state("joint.pt")["encoder"])
        encoder.eval()
        return encoder

    def _trained(self, tier: str) -> Decoder:
        last = "reward.pt" if self.recipe.reward_steps else "joint.pt"
        decoder = self._decoder(tier, last if tier == "cloud" else f"follow-{tier}.pt")
        decoder.eval()
        return decoder

    def _decoder(self, tier: str, file: str) -> Decoder:
        decoder = Decoder(self._decoder_shape(tier))
        decoder.load_state_dict(self._state(file)["decoder"])
        return decoder

    def _state(self, file: str) -> dict[str, Any]:
        modules: dict[str, Any] = torch.load(self.folder / file, weights_only=False)["modules"]
        return modules

    def _decoder_shape(self, tier: str) -> DecoderShape:
        recipe = self.recipe.decoders[tier]
        return DecoderShape(
            vocabulary=len(self.words),
            width=recipe.width,
            layers=recipe.layers,
            heads=recipe.heads,
            tokens=self.shape.tokens,
            dims=self.shape.dims,
            levels=self.shape.levels,
            positions=self.shape.tokens + 1 + photo_data.MAX_TOKENS,
            adapter=recipe.adapter,
            dropout=recipe.dropout,
        )

    def _manifest(self) -> Manifest:
        shape, encoder = self.shape, self._encoder()
        roles = {
            "encoder_float": "encoder.float.onnx",
            "encoder_onnx": "encoder.onnx",
            "tables": "tables.npz",
            "tokenizer": "tokenizer.json",
            "meanings": "meanings.json",
            **{f"decoder_{tier}": f"decoder-{tier}.onnx" for tier in self.recipe.decoders},
        }
        return Manifest(
            format=FORMAT,
            name=self.recipe.name,
            version=self.recipe.version,
            license=LICENSE,
            description=DESCRIPTION,
            encoder=EncoderFacts(
                width=shape.width,
                height=shape.height,
                tokens=shape.tokens,
                dims=shape.dims,
                levels=(shape.levels,) * shape.dims,
                layers=shape.layers,
                macs=macs(encoder, shape.width, shape.height),
                gate_symbols=1 + self._changed_by_noise(),
                parameters=parameters(encoder) - parameters(encoder.trunk.classifier),
            ),
            decoders={
                tier: self._decoder_facts(tier, recipe)
                for tier, recipe in self.recipe.decoders.items()
            },
            escalate_below=0.5,
            roles=roles,
            sha256=hashes(self.bundle, sorted(roles.values())),
            training={
                "recipe": self.recipe.model_dump(mode="json"),
                "recipe_digest": self.recipe.digest,
                "command": f"scripts/train {self.recipe.name} --data DIR",
                "sources": list(self.recipe.sources),
                "photos": {split: len(photos) for split, photos in self.photos.items()},
                "commit": commit(),
                "seconds": self.seconds(),
            },
            figures={},
        )

    def _changed_by_noise(self) -> int:
        """Symbols that differ between two frames of a still scene, but for one pair in 100."""
        size, levels = (efficientnet.SIDE,) * 2, (self.shape.levels,) * self.shape.dims
        encoder = Encoder(OnnxModel(self.bundle / "encoder.onnx"), size, levels)
        rng = np.random.default_rng(self.recipe.seed)
        changed = []
        for photo in self.photos["dev"][:NOISE_PHOTOS]:
            image, condition = photo_data.read(photo, efficientnet.SIDE), sample_condition(rng)
            frames = [expose(image, rng, "normal", condition) for _ in range(2)]
            one, other = (encoder.encode(frame).symbols for frame in frames)
            changed.append(int((one != other).sum()))
        return int(np.percentile(changed, 99))

    def _decoder_facts(self, tier: str, recipe: PhotoDecoderRecipe) -> DecoderFacts:
        return DecoderFacts(
            layers=recipe.layers,
            heads=recipe.heads,
            width=recipe.width,
            vocabulary=len(self.words),
            max_tokens=photo_data.MAX_TOKENS,
            input_layers=recipe.input_layers,
            parameters=parameters(self._trained(tier)),
            calibration=(Calibration(),),
        )


def make(recipe: PhotoRecipe, out: Path, data: Path, texts: list[Path]) -> Path:
    """Run all stages; returns the bundle's folder. Raises ConfigError, RuntimeUnavailable."""
    set_up_torch(recipe.threads)
    run = PhotoRun(recipe, out / f"{recipe.name}-{recipe.digest}", data, texts)
    followers = [tier for tier in recipe.decoders if tier != "cloud"]
    stages: list[tuple[str, Callable[[], None]]] = [
        ("stems", run.stems),
        *((f"text-{tier}", partial(run.text, tier)) for tier in recipe.decoders),
        ("joint", run.joint),
        ("symbols", run.symbols),
        *([("reward", run.reward)] if recipe.reward_steps else []),
        ("taught", run.taught),
        *((f"follow-{tier}", partial(run.follow, tier)) for tier in followers),
        ("export", run.export),
        ("tables", run.tables),
        ("finish", run.finish),
    ]
    for name, work in stages:
        run.stage(name, work)
    return run.bundle
