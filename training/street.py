"""The street's bundle, stage by stage.

    render -> encoder -> tokens, streams -> tables -> decoders -> export -> calibrate -> manifest

TFLite is a stage of its own after the export, left out where its tools cannot be installed.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch

from aiflow.common.bundle import FORMAT, Bundle, Calibration, DecoderFacts, EncoderFacts, Manifest
from aiflow.common.errors import RuntimeUnavailable
from aiflow.street import splits
from aiflow.street.grammar import describe, phrases
from aiflow.street.world import street
from aiflow.training import dataset, litert
from aiflow.training import recipe as recipes
from aiflow.training.calibrate import calibrate
from aiflow.training.decoder import Decoder, DecoderShape
from aiflow.training.encoder import Encoder, EncoderShape
from aiflow.training.export import export_decoder, export_encoder, quantize_encoder
from aiflow.training.fit_tables import fit_delta, fit_tables
from aiflow.training.labels import LabelSpace
from aiflow.training.manifest import hashes, write_manifest
from aiflow.training.progress import Bar
from aiflow.training.stages import Stages, commit, macs, parameters, set_up_torch
from aiflow.training.text import build_tokenizer, encode_captions, meanings
from aiflow.training.train_decoder import Corpus, sharpen_decoder, train_decoder
from aiflow.training.train_encoder import read_off, symbols_of, train_encoder

log = logging.getLogger(__name__)

CALIBRATION_PICTURES = 512


class StreetRun(Stages):
    """One run of a recipe: its folder, and what its stages share."""

    def __init__(self, recipe: recipes.Recipe, folder: Path) -> None:
        super().__init__(folder)
        self.recipe = recipe
        self.shape = EncoderShape()
        self.space = LabelSpace.of(street())
        self.tokenizer = build_tokenizer(phrases())

    def spec(self, split: str) -> dataset.Spec:
        """What is rendered for a split of this recipe."""
        count = {"train": self.recipe.data.train, "calibration": self.recipe.data.calibration}
        return dataset.Spec(
            split, self.recipe.seed, count[split], self.shape.width, self.shape.height
        )

    # Stages, in order.

    def render(self) -> None:
        """Render the pictures of the training and calibration splits."""
        for split in ("train", "calibration"):
            spec = self.spec(split)
            shards = (spec.count + dataset.SHARD - 1) // dataset.SHARD
            with Bar(f"render {split}", shards) as bar:
                paths = dataset.render_all(spec, self.pictures, self.recipe.threads)
                for done, _ in enumerate(paths, start=1):
                    bar.show(done)

    @property
    def pictures(self) -> Path:
        """Pictures do not depend on how models are trained, so runs share them."""
        return self.folder.parent / "pictures"

    def encoder(self) -> None:
        """Train the encoder with its bottleneck."""
        pictures = dataset.load(self.spec("train"), self.pictures)
        model, history = train_encoder(pictures, self.recipe.encoder, self.recipe.seed, self.folder)
        self.write_json("encoder.history.json", history)
        torch.save(model.encoder.state_dict(), self.folder / "encoder.pt")
        held = dataset.load(self.spec("calibration"), self.pictures)
        self.write_json("heads.json", read_off(model, held))

    def tokens(self) -> None:
        """Cache the task tokens of the training pictures."""
        encoder = self.load_encoder()
        parts = []
        spec = self.spec("train")
        shards = (spec.count + dataset.SHARD - 1) // dataset.SHARD
        with Bar("tokens", shards) as bar:
            for shard in range(shards):
                images = np.load(self.pictures / spec.name(shard))["images"]
                parts.append(symbols_of(encoder, images))
                bar.show(shard + 1)
        np.save(self.folder / "symbols.npy", np.concatenate(parts))

    def stream(self) -> None:
        """Cache the task tokens of live streets: pairs of frames that follow each other."""
        encoder, data = self.load_encoder(), self.recipe.data
        before, after = [], []
        frames = dataset.streams(
            self.recipe.seed,
            data.streets,
            data.street_frames,
            self.spec("train"),
            self.recipe.threads,
        )
        with Bar("streets", data.streets) as bar:
            for done, images in enumerate(frames, start=1):
                symbols = symbols_of(encoder, images)
                before.append(symbols[:-1])
                after.append(symbols[1:])
                bar.show(done)
        pairs = np.stack([np.concatenate(before), np.concatenate(after)])
        np.save(self.folder / "stream.npy", pairs)

    def tables(self) -> None:
        """Fit the codec's tables, for frames that stand alone and for changes."""
        levels, slots = self.shape.levels, self.shape.slots
        before, after = np.load(self.folder / "stream.npy")
        delta = fit_delta(before, after, levels, slots)
        symbols = np.load(self.folder / "symbols.npy")
        fit_tables(symbols, levels, slots, delta).save(self.bundle / "tables.npz")

    def captions(self) -> None:
        """Write reference captions of the training scenes as token ids."""
        spec, limit = self.spec("train"), self.recipe.captions.max_tokens
        texts = []
        for index, scene in enumerate(dataset.scenes(spec)):
            rng = splits.rng("train", spec.seed, (1 << 40) + index)
            texts += [describe(scene, rng) for _ in range(self.recipe.captions.per_scene)]
        ids = encode_captions(self.tokenizer, texts, limit)
        np.save(self.folder / "captions.npy", ids.reshape(spec.count, -1, limit))

    def decoder(self, tier: str) -> None:
        """Train one decoder."""
        recipe = self.recipe.decoders[tier]
        model, history = train_decoder(
            self._corpus(),
            self.decoder_shape(tier),
            recipe,
            self.shape.slots,
            self.recipe.seed,
            self.folder / f"{tier}.checkpoint.pt",
        )
        self.write_json(f"{tier}.history.json", history)
        torch.save(model.state_dict(), self.folder / f"{tier}.pt")

    def sharpen(self, tier: str) -> None:
        """Train a decoder once more, for the facts."""
        model, history = sharpen_decoder(
            self._corpus(),
            self._load_decoder(tier, f"{tier}.pt"),
            self.recipe.decoders[tier],
            self.shape.slots,
            self.recipe.seed,
            self.folder / f"{tier}.sharp.checkpoint.pt",
        )
        self.write_json(f"{tier}.sharp.history.json", history)
        torch.save(model.state_dict(), self.folder / f"{tier}.sharp.pt")

    def export(self) -> None:
        """Export everything to the bundle's files."""
        torch.manual_seed(self.recipe.seed)
        encoder = self.load_encoder()
        export_encoder(encoder, self.bundle / "encoder.float.onnx")
        images = dataset.load(self.spec("calibration"), self.pictures).images
        quantize_encoder(encoder, self.bundle / "encoder.onnx", images[:CALIBRATION_PICTURES])
        for tier in self.recipe.decoders:
            export_decoder(self.load_decoder(tier), self.bundle / f"decoder-{tier}.onnx")
        self.tokenizer.save(str(self.bundle / "tokenizer.json"))
        kind, value = meanings(self.tokenizer)
        text = json.dumps({"kind": kind, "value": value}) + "\n"
        (self.bundle / "meanings.json").write_text(text, encoding="utf-8")

    def tflite(self, environment: Path) -> None:
        """Convert the encoder to TFLite. Raises RuntimeUnavailable."""
        images = self.folder / "calibration.npy"
        pictures = dataset.load(self.spec("calibration"), self.pictures).images
        np.save(images, pictures[:CALIBRATION_PICTURES])
        litert.convert(
            environment, self.folder / "encoder.pt", images, self.bundle / "encoder.tflite"
        )
        # It may come late, after a run that had no environment for it.
        (self.folder / "finish.seconds").unlink(missing_ok=True)

    def finish(self) -> None:
        """Write the manifest, calibrate confidence with it, and write it again."""
        manifest = self._manifest()
        write_manifest(self.bundle, manifest)
        spec = self.spec("calibration")
        images = dataset.load(spec, self.pictures).images
        calibrated = calibrate(Bundle.open(self.bundle), manifest, spec, images)
        heads = json.loads((self.folder / "heads.json").read_text(encoding="utf-8"))
        figures = {**calibrated.figures, "fact_heads": heads}
        complete = calibrated.model_copy(update={"figures": figures})
        identity = write_manifest(self.bundle, complete)
        log.info("bundle %s (%s) is in %s", self.recipe.name, identity[:12], self.bundle)

    # What stages share.

    def load_encoder(self) -> Encoder:
        encoder = Encoder(self.shape)
        encoder.load_state_dict(torch.load(self.folder / "encoder.pt"))
        encoder.eval()
        return encoder

    def load_decoder(self, tier: str) -> Decoder:
        sharp = self.recipe.decoders[tier].sharpen is not None
        return self._load_decoder(tier, f"{tier}.sharp.pt" if sharp else f"{tier}.pt")

    def _load_decoder(self, tier: str, file: str) -> Decoder:
        decoder = Decoder(self.decoder_shape(tier))
        decoder.load_state_dict(torch.load(self.folder / file))
        decoder.eval()
        return decoder

    def decoder_shape(self, tier: str) -> DecoderShape:
        recipe = self.recipe.decoders[tier]
        return DecoderShape(
            vocabulary=self.tokenizer.get_vocab_size(),
            width=recipe.width,
            layers=recipe.layers,
            heads=recipe.heads,
            tokens=self.shape.tokens,
            dims=self.shape.dims,
            levels=self.shape.levels,
            positions=self.shape.tokens + 1 + self.recipe.captions.max_tokens,
            adapter=recipe.adapter,
        )

    def _corpus(self) -> Corpus:
        labels = [self.space.encode(scene) for scene in dataset.scenes(self.spec("train"))]
        facts = np.stack([np.concatenate([g, c.ravel()]) for g, c in labels])
        attributes = len(self.space.cell_sizes)
        tokens = [0] * len(self.space.global_sizes)
        tokens += [1 + cell for cell in range(len(self.space.cells)) for _ in range(attributes)]
        kind, _ = meanings(self.tokenizer)
        return Corpus(
            symbols=np.load(self.folder / "symbols.npy"),
            captions=np.load(self.folder / "captions.npy"),
            facts=facts,
            fact_token=tuple(tokens),
            fact_sizes=self.space.global_sizes + self.space.cell_sizes * len(self.space.cells),
            states_fact=np.array(kind) >= 0,
        )

    def _manifest(self) -> Manifest:
        shape, recipe = self.shape, self.recipe
        roles = {
            "encoder_float": "encoder.float.onnx",
            "encoder_onnx": "encoder.onnx",
            "tables": "tables.npz",
            "tokenizer": "tokenizer.json",
            "meanings": "meanings.json",
            **{f"decoder_{tier}": f"decoder-{tier}.onnx" for tier in recipe.decoders},
        }
        if (self.bundle / "encoder.tflite").exists():
            roles["encoder_tflite"] = "encoder.tflite"
        return Manifest(
            format=FORMAT,
            name=recipe.name,
            version=recipe.version,
            license="Apache-2.0",
            description="Captions of the built-in street; it knows this street and nothing else.",
            encoder=EncoderFacts(
                width=shape.width,
                height=shape.height,
                tokens=shape.tokens,
                dims=shape.dims,
                levels=(shape.levels,) * shape.dims,
                layers=(shape.slots, shape.tokens),
                macs=macs(self.load_encoder(), shape.width, shape.height),
                parameters=parameters(self.load_encoder()),
            ),
            decoders={tier: self._decoder_facts(tier) for tier in recipe.decoders},
            escalate_below=0.5,
            roles=roles,
            sha256=hashes(self.bundle, sorted(roles.values())),
            training={
                "recipe": recipe.model_dump(mode="json"),
                "recipe_digest": recipe.digest,
                "command": f"scripts/train {recipe.name}",
                "commit": commit(),
                "seconds": self.seconds(),
            },
            figures={},
        )

    def _decoder_facts(self, tier: str) -> DecoderFacts:
        recipe = self.recipe.decoders[tier]
        return DecoderFacts(
            layers=recipe.layers,
            heads=recipe.heads,
            width=recipe.width,
            vocabulary=self.tokenizer.get_vocab_size(),
            max_tokens=self.recipe.captions.max_tokens,
            input_layers=recipe.input_layers,
            parameters=parameters(self.load_decoder(tier)),
            calibration=(Calibration(),),
        )


def make(recipe: recipes.Recipe, out: Path, environment: Path | None = None) -> Path:
    """Run all stages; returns the bundle's folder.

    `environment` is where the TFLite tools are or shall be installed; without it, or if that
    fails, the bundle has no TFLite encoder.
    """
    set_up_torch(recipe.threads)
    run = StreetRun(recipe, out / f"{recipe.name}-{recipe.digest}")
    run.stage("render", run.render)
    run.stage("encoder", run.encoder)
    run.stage("tokens", run.tokens)
    run.stage("stream", run.stream)
    run.stage("tables", run.tables)
    run.stage("captions", run.captions)
    # Side by side, a thread each: small matrices do not gain from a second thread.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(recipe.threads, mp_context=spawn) as pool:
        list(pool.map(partial(train_one, recipe, run.folder), recipe.decoders))
    run.stage("export", run.export)
    if environment is None:
        log.info("tflite: left out; --litert makes it")
    else:
        try:
            run.stage("tflite", partial(run.tflite, environment))
        except RuntimeUnavailable as exc:
            log.warning("tflite: left out: %s", exc)
    run.stage("finish", run.finish)
    return run.bundle


def train_one(recipe: recipes.Recipe, folder: Path, tier: str) -> None:
    """Train one decoder in a process of its own."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    set_up_torch(threads=1)
    run = StreetRun(recipe, folder)
    run.stage(f"decoder-{tier}", partial(run.decoder, tier))
    if recipe.decoders[tier].sharpen is not None:
        run.stage(f"sharpen-{tier}", partial(run.sharpen, tier))
