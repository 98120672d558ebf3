"""`aiflow bundle import`: from a captioning model and the owner's images to a bundle.

    images -> vision -> merged tokens, and the whole model's captions
    merged tokens of three quarters -> codec -> encoder and decoder as ONNX
    symbols of the same images -> code tables
    symbols and captions of the last quarter -> calibration, figures -> manifest

A bundle appears under its name when it is whole, or not at all.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from aiflow.common.bundle import FORMAT, Bundle, Calibration, DecoderFacts, EncoderFacts, Manifest
from aiflow.common.encoder import Encoder
from aiflow.common.errors import BundleInvalid, ConfigError, StorageError
from aiflow.common.runtime import OnnxModel
from aiflow.training.importing.code_tables import fit_tables
from aiflow.training.importing.codec import Codec, CodecShape, Merge, fit
from aiflow.training.importing.encoder import ImportedEncoder, macs, parameters
from aiflow.training.importing.files import ROLES, TIERS, Precision, write_models, write_words
from aiflow.training.importing.judge import (
    Comparison,
    WholeModel,
    bytes_by_layers,
    errors_by_stage,
    look,
)
from aiflow.training.importing.model import Foreign, load
from aiflow.training.importing.pictures import ENOUGH, OwnImages
from aiflow.training.manifest import hashes, write_manifest
from aiflow.training.progress import Bar

Symbols = list[NDArray[np.uint8]]

RIGHT: Final = "the caption from the symbols is that of the whole, uncompressed model"


@dataclass(frozen=True, slots=True)
class Options:
    """What the owner may choose; `license` wins over what the source says of itself."""

    tokens: int = 32
    stages: int = 4
    seed: int = 1
    license: str = ""
    encoder: Precision = "both"


def import_bundle(source: str, images: Path, out: Path, options: Options) -> Bundle:
    """Make a bundle of a captioner in a directory, or of that name on the Hugging Face hub.

    Raises an AiflowError for a source that cannot be used, too few images, or an `out` that is
    there already.
    """
    pictures = OwnImages(images)
    with _whole_or_nothing(out) as folder:
        try:
            make(load(source), pictures, folder, out.name, options)
        except ValidationError as exc:
            first = exc.errors()[0]
            what = ".".join(map(str, first["loc"]))
            raise BundleInvalid(
                f"{source} has sizes that no bundle can have ({what}: {first['msg']}); take another"
            ) from exc
    return Bundle.open(out)


def make(foreign: Foreign, pictures: OwnImages, folder: Path, name: str, options: Options) -> None:
    """Write all files of a bundle into `folder`."""
    terms = _license(foreign, options)
    merge = Merge(min(options.tokens, foreign.tokens))
    seen = look(foreign, pictures, merge)
    shape = CodecShape(merge.tokens, options.stages)
    codec = fit(torch.stack(seen.fitted_to(list(seen.tokens))), shape, options.seed)
    encoder = ImportedEncoder(foreign.vision, merge, codec).eval()
    roles = write_models(foreign, encoder, folder, options.encoder)
    write_words(foreign, folder)
    facts = _encoder_facts(foreign, encoder)
    sent = _symbols(folder / roles["encoder_onnx"], facts, pictures)
    learned = np.stack(seen.fitted_to(sent))
    fit_tables(learned, codec.codes, facts.layers).save(folder / ROLES["tables"])
    manifest = Manifest(
        format=FORMAT,
        name=name,
        version="1",
        license=terms,
        description=f"Captions of {foreign.name}, imported, with a codec for its owner's images.",
        encoder=facts,
        decoders=dict.fromkeys(TIERS, _decoder_facts(foreign, len(facts.layers))),
        # All tiers have one decoder: the cloud would say the same again.
        escalate_below=0.0,
        roles=roles,
        sha256=hashes(folder, sorted(set(roles.values()))),
        training=_origin(foreign, seen, codec, options),
        figures={},
    )
    write_manifest(folder, manifest)
    write_manifest(folder, _judged(Bundle.open(folder), pictures, seen, codec, sent))


def layers_of(tokens: int) -> tuple[int, ...]:
    """A quarter of the tokens, half of them, all: each layer doubles what is known."""
    return tuple(sorted({-(-tokens // 4), -(-tokens // 2), tokens}))


def _license(foreign: Foreign, options: Options) -> str:
    terms = options.license or foreign.license
    if not terms:
        raise ConfigError(
            f"{foreign.name} does not say under which licence its weights are; look it up and name "
            "it: --license apache-2.0"
        )
    return terms


def _encoder_facts(foreign: Foreign, encoder: ImportedEncoder) -> EncoderFacts:
    width, height = foreign.size
    return EncoderFacts(
        width=width,
        height=height,
        tokens=encoder.merge.tokens,
        dims=encoder.codec.stages,
        levels=(encoder.codec.codes,) * encoder.codec.stages,
        layers=layers_of(encoder.merge.tokens),
        macs=macs(encoder, foreign.size),
        parameters=parameters(encoder),
    )


def _decoder_facts(foreign: Foreign, layers: int) -> DecoderFacts:
    return DecoderFacts(
        layers=foreign.layers,
        heads=foreign.heads,
        width=foreign.width,
        vocabulary=foreign.vocabulary,
        max_tokens=foreign.max_tokens,
        input_layers=layers,
        parameters=foreign.parameters,
        calibration=(Calibration(),),
    )


def _origin(foreign: Foreign, seen: WholeModel, codec: Codec, options: Options) -> dict[str, Any]:
    """How the bundle was made; no path of the machine that made it."""
    return {
        "source": foreign.name,
        "images": len(seen.held),
        "fitted_to": int((~seen.held).sum()),
        "codes": codec.codes,
        "axes": len(codec.basis),
        "seed": options.seed,
        "torch": version("torch"),
        "transformers": version("transformers"),
        "pictures": "squeezed, where its makers crop" if foreign.cropped else "as its makers do",
    }


def _symbols(path: Path, facts: EncoderFacts, pictures: OwnImages) -> Symbols:
    """What a device with this encoder would send of all images."""
    model = OnnxModel(path, threads=torch.get_num_threads())
    size = facts.width, facts.height
    encoder = Encoder(model, size, facts.levels)
    symbols: Symbols = []
    with Bar(f"run {path.name}, images", len(pictures)) as bar:
        for image in pictures.read(size):
            symbols.append(encoder.encode(image).symbols)
            bar.show(len(symbols))
    return symbols


def _judged(
    bundle: Bundle, pictures: OwnImages, seen: WholeModel, codec: Codec, sent: Symbols
) -> Manifest:
    """The bundle's manifest with calibration and figures, by the images that are held out."""
    manifest, held = bundle.manifest, seen.held_out(sent)
    judge = Comparison(bundle, seen.held_out(seen.captions), torch.get_num_threads())
    judged = judge.judge(held)
    decoders = {
        tier: facts.model_copy(update={"calibration": judged.calibration})
        for tier, facts in manifest.decoders.items()
    }
    errors = errors_by_stage(codec, torch.stack(seen.held_out(list(seen.tokens))))
    figures: dict[str, Any] = {"right": RIGHT, "images": len(held), **_warning(len(seen.held))}
    figures |= dict.fromkeys(TIERS, judged.figures)
    figures |= {
        "refine_below": judged.refine_below,
        "bytes_by_layers": bytes_by_layers(bundle, held),
        "error_by_stage": {str(stage): error for stage, error in enumerate(errors, start=1)},
    }
    if manifest.roles.get("encoder_float") not in {None, manifest.roles["encoder_onnx"]}:
        exactly = _symbols(bundle.file("encoder_float"), manifest.encoder, pictures)
        same = round(float(np.mean(np.stack(sent) == np.stack(exactly))), 4)
        exact = judge.exact(seen.held_out(exactly))
        figures["encoder_float"] = {"exact": exact, "same_symbols": same}
    return manifest.model_copy(update={"decoders": decoders, "figures": figures})


def _warning(images: int) -> dict[str, str]:
    if images >= ENOUGH:
        return {}
    return {"few": f"{images} images are few for these figures; {ENOUGH} are advised"}


@contextmanager
def _whole_or_nothing(out: Path) -> Iterator[Path]:
    """A folder that gets its name when its content is complete, and is removed if that fails."""
    if out.exists():
        raise ConfigError(f"{out} is there already; remove it, or name another directory by --out")
    folder = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        folder.mkdir(parents=True)
    except OSError as exc:
        raise ConfigError(f"--out {out} cannot be written: {exc.strerror}") from exc
    try:
        yield folder
        folder.rename(out)
    except OSError as exc:
        raise StorageError(f"the bundle cannot be written to {out.parent}: {exc}") from exc
    finally:
        shutil.rmtree(folder, ignore_errors=True)
