"""A recipe: every number that decides what a bundle becomes."""

from __future__ import annotations

import hashlib
import tomllib
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aiflow.common.errors import ConfigError


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataRecipe(_Section):
    """How many pictures are rendered, and how many live streets of how many frames."""

    train: int = Field(ge=64)
    calibration: int = Field(ge=64)
    streets: int = Field(ge=1)
    street_frames: int = Field(ge=2)


class EncoderRecipe(_Section):
    """Encoder and bottleneck; a rate weight is the nats that one bit may cost."""

    pictures: int = Field(ge=64)
    batch: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    rate_weight: float = Field(ge=0)
    refinement_rate_weight: float = Field(ge=0)
    round_from: float = Field(ge=0, le=1)


class CaptionsRecipe(_Section):
    """Reference captions of the training scenes."""

    per_scene: int = Field(ge=1)
    max_tokens: int = Field(ge=8, le=512)


class SharpenRecipe(_Section):
    """A second run of training; a word that states a fact weighs `fact_weight` others."""

    captions: int = Field(ge=64)
    learning_rate: float = Field(gt=0)
    fact_weight: float = Field(ge=1)


class DecoderRecipe(_Section):
    """One decoder; `input_layers` of task tokens are what its tier is given."""

    width: int
    layers: int
    heads: int
    adapter: int
    captions: int = Field(ge=64)
    batch: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    input_layers: int = Field(ge=1)
    sharpen: SharpenRecipe | None = None


class _Whole(_Section):
    """What every recipe says."""

    name: str
    version: str
    seed: int = Field(ge=0)
    threads: int = Field(ge=1)

    @property
    def digest(self) -> str:
        """Hex digest of everything in the recipe; names the folder of its run."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


class Recipe(_Whole):
    """Of a street's bundle."""

    data: DataRecipe
    encoder: EncoderRecipe
    captions: CaptionsRecipe
    decoders: dict[str, DecoderRecipe]


class JointRecipe(_Section):
    """Steps of the joint stage, photos in each, and captions of each photo."""

    steps: int = Field(ge=1)
    photos: int = Field(ge=2)
    captions: int = Field(ge=1, le=5)


class PhotoDecoderRecipe(_Section):
    """One decoder: steps on text alone, then (but for the cloud's) on the cloud's captions."""

    width: int
    layers: int
    heads: int
    adapter: int
    dropout: float = Field(ge=0, lt=1)
    text_steps: int = Field(ge=1)
    steps: int = Field(ge=0)
    learning_rate: float = Field(gt=0)
    input_layers: int = Field(ge=1)


class PhotoRecipe(_Whole):
    """Of a bundle of real photos."""

    sources: tuple[str, ...]
    """What it is trained on, in words for its manifest."""
    variants: int = Field(ge=1, le=64)
    """Of each training photo, the photo itself among them."""
    at_least: tuple[int, int]
    """How often photos' captions, or texts, must have a word for it to be known."""
    joint: JointRecipe
    reward_steps: int = Field(ge=0)
    """Of the stage `reward`; 0 leaves it out."""
    decoders: dict[str, PhotoDecoderRecipe]


def load(name_or_path: str) -> Recipe | PhotoRecipe:
    """Load a built-in recipe by name, or one by path; one with a joint stage is of photos.

    Raises ConfigError.
    """
    built = Path(str(files("aiflow.training"))) / "recipes" / f"{name_or_path}.toml"
    path = built if built.is_file() else Path(name_or_path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        return (PhotoRecipe if "joint" in content else Recipe).model_validate(content)
    except OSError as exc:
        raise ConfigError(f"recipe {name_or_path}: {exc.strerror}") from exc
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"recipe {path}: {exc}") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"recipe {path}: {where}: {first['msg']}") from exc
