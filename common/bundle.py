"""A bundle: the directory of models, tables and facts about them that all tiers agree on.

    manifest.json      names every file with its sha256; its own hash is the bundle's id
    encoder.onnx ...   found by role, never by name

Opening verifies every hash before any runtime sees a file: what is loaded is what
was published, or nothing is loaded.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aiflow.common.codec import Tables
from aiflow.common.errors import BundleChanged, BundleInvalid, BundleNotFound

MANIFEST = "manifest.json"
FORMAT = 1
TAG_BYTES = 2
_MAX_MANIFEST_BYTES = 1 << 20


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EncoderFacts(_Part):
    """What the encoder takes and gives: pixels in, `tokens` x `dims` symbols out."""

    width: int = Field(ge=16, le=1024)
    height: int = Field(ge=16, le=1024)
    tokens: int = Field(ge=1, le=64)
    dims: int = Field(ge=1, le=32)
    levels: tuple[int, ...]
    layers: tuple[int, ...]
    macs: int = Field(ge=0)
    parameters: int = Field(ge=0)
    gate_symbols: int = Field(default=1, ge=1)
    """So many symbols must differ for a frame to be new: more than a sensor's noise changes."""


class Calibration(_Part):
    """Logistic map from a caption's raw confidence c to the chance that all its facts are right.

    sigmoid(slope * logit(c) + intercept), as Platt scaling does it. It never falls: more doubt
    about a caption cannot make it more trusted.
    """

    slope: float = Field(default=1.0, ge=0)
    intercept: float = 0.0


class DecoderFacts(_Part):
    """Sizes of a decoder, and the calibration of its confidence by the layers that it reads.

    `input_layers` is what its tier is given; `calibration` has one entry for each number of layers
    from 1 on.
    """

    layers: int = Field(ge=1, le=64)
    heads: int = Field(ge=1, le=64)
    width: int = Field(ge=1, le=4096)
    vocabulary: int = Field(ge=4, le=1 << 16)
    max_tokens: int = Field(ge=1, le=512)
    input_layers: int = Field(ge=1, le=16)
    parameters: int = Field(ge=0)
    calibration: tuple[Calibration, ...] = Field(min_length=1, max_length=16)


class Manifest(_Part):
    """The content of manifest.json."""

    format: int
    name: str
    version: str
    license: str
    description: str
    encoder: EncoderFacts
    decoders: dict[str, DecoderFacts]
    escalate_below: float = Field(ge=0, le=1)
    roles: dict[str, str]
    sha256: dict[str, str]
    training: dict[str, Any]
    figures: dict[str, Any]


class Bundle:
    """A verified bundle. `id` is the hex sha256 of its manifest, `tag` the first bytes of it."""

    def __init__(self, path: Path, manifest: Manifest, identity: str) -> None:
        self.path = path
        self.manifest = manifest
        self.id = identity
        self.tag = bytes.fromhex(identity)[:TAG_BYTES]

    @classmethod
    def open(cls, name_or_path: str | Path) -> Bundle:
        """Open a built-in bundle by name or any bundle by path, verifying every file.

        Raises BundleNotFound, BundleInvalid or BundleChanged.
        """
        path = _locate(name_or_path)
        raw = _read(path / MANIFEST, _MAX_MANIFEST_BYTES)
        try:
            manifest = Manifest.model_validate_json(raw)
        except ValidationError as exc:
            first = exc.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise BundleInvalid(f"{path / MANIFEST}: {where}: {first['msg']}") from exc
        if manifest.format != FORMAT:
            raise BundleInvalid(
                f"{path / MANIFEST}: format {manifest.format} is not {FORMAT}; install the version "
                "of aiflow that made this bundle"
            )
        bundle = cls(path, manifest, hashlib.sha256(raw).hexdigest())
        bundle._verify()
        return bundle

    def _verify(self) -> None:
        for name, expected in self.manifest.sha256.items():
            if Path(name).name != name:
                raise BundleInvalid(f"{self.path / MANIFEST}: {name!r} lies outside the bundle")
            actual = hashlib.sha256(_read(self.path / name)).hexdigest()
            if actual != expected:
                raise BundleChanged(
                    f"{self.path / name} was changed: its sha256 is {actual[:12]}..., the manifest "
                    f"says {expected[:12]}...; restore the file or install the bundle again"
                )
        for role, name in self.manifest.roles.items():
            if name not in self.manifest.sha256:
                raise BundleInvalid(f"{self.path / MANIFEST}: role {role} names no hashed file")

    def file(self, role: str) -> Path:
        """Return the path of the file that plays `role`; raises BundleInvalid if none does."""
        try:
            return self.path / self.manifest.roles[role]
        except KeyError:
            known = ", ".join(sorted(self.manifest.roles))
            raise BundleInvalid(f"bundle {self.path} has no {role}; it has {known}") from None

    @cached_property
    def tables(self) -> Tables:
        """The codec's integer tables."""
        return Tables.load(self.file("tables"))

    @property
    def tokens(self) -> int:
        return self.manifest.encoder.tokens

    @property
    def dims(self) -> int:
        return self.manifest.encoder.dims

    @property
    def levels(self) -> tuple[int, ...]:
        return self.manifest.encoder.levels

    @property
    def layers(self) -> tuple[int, ...]:
        """Cumulative number of tokens after each layer."""
        return self.manifest.encoder.layers

    @property
    def input_size(self) -> tuple[int, int]:
        """(width, height) of the encoder's input in pixels."""
        return self.manifest.encoder.width, self.manifest.encoder.height


@dataclass(frozen=True, slots=True, eq=False)
class BundleCoding:
    """What frames must be coded for: a bundle's id in hex, its tag and its tables."""

    bundle_id: str
    tag: bytes
    tables: Tables

    @classmethod
    def of(cls, bundle: Bundle) -> BundleCoding:
        return cls(bundle.id, bundle.tag, bundle.tables)


def open_bundles(name_or_path: str | None) -> tuple[Bundle, ...]:
    """The one that is named, or all built-in ones. Raises BundleError."""
    names = built_in() if name_or_path is None else (name_or_path,)
    return tuple(Bundle.open(name) for name in names)


def built_in() -> tuple[str, ...]:
    """Names of the bundles that are installed with the package."""
    root = Path(str(files("aiflow.bundles")))
    return tuple(sorted(path.parent.name for path in root.glob(f"*/{MANIFEST}")))


def _locate(name_or_path: str | Path) -> Path:
    built = Path(str(files("aiflow.bundles"))) / str(name_or_path)
    for path in (built, Path(name_or_path)):
        if (path / MANIFEST).is_file():
            return path
    known = ", ".join(built_in()) or "there is none"
    raise BundleNotFound(
        f"no bundle {str(name_or_path)!r}: neither a built-in one ({known}) "
        f"nor a directory with a {MANIFEST}"
    )


def _read(path: Path, limit: int = 1 << 30) -> bytes:
    try:
        if path.stat().st_size > limit:
            raise BundleInvalid(f"{path} is larger than {limit} bytes")
        return path.read_bytes()
    except OSError as exc:
        raise BundleChanged(f"{path} cannot be read: {exc.strerror or exc}") from exc
