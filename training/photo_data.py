"""Photos with captions, in the layouts that people have, and splits that share nothing.

    DIR/captions.csv  DIR/{train,dev,test}.txt      Flickr8k: image,caption; names of each split
    DIR/dataset*.json                               Karpathy's: images with `split` and `sentences`
    DIR/**/captions_{train,val,...}*.json           COCO's: `images` and `annotations`

Pictures are looked for below DIR by their names. Where a layout names no dev or test split, they
are drawn from its photos by a hash of the name, so that every run draws the same.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from aiflow.common.errors import ConfigError
from aiflow.common.greedy import END
from aiflow.street.sensor import expose, sample_condition
from aiflow.training.text import SPECIAL

Split = Literal["train", "dev", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "dev", "test")
MAX_TOKENS: Final = 24
HELD_OUT: Final = 10
"""Where nobody has split them, a photo in so many is dev, and another is test."""
SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})
_SPLIT_NAMES: Final[Mapping[str, Split]] = {
    "train": "train",
    "restval": "train",
    "val": "dev",
    "dev": "dev",
    "test": "test",
}


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo and what people said of it, as they wrote it."""

    path: Path
    captions: tuple[str, ...]


def words(caption: str) -> tuple[str, ...]:
    """A caption as the models see it: lower case, no punctuation, `dog's` as `dog 's`."""
    plain = re.sub(r"[^a-z0-9' ]", " ", caption.lower().replace("\u2019", "'").replace("-", " "))
    return tuple(word for word in plain.replace("'s", " 's").split() if word.strip("'"))


def load(folder: Path) -> dict[Split, list[Photo]]:
    """Read a data set, each photo in one split. Raises ConfigError that names what is wrong."""
    for read in (_flickr, _karpathy, _coco):
        found = read(folder)
        if found is not None:
            return _checked(folder, found)
    raise ConfigError(
        f"{folder} has neither captions.csv (Flickr8k), dataset*.json (Karpathy) nor "
        "captions_*.json (COCO)"
    )


_Named = dict[str, tuple[Split | None, list[str]]]


def _flickr(folder: Path) -> _Named | None:
    table = folder / "captions.csv"
    if not table.is_file():
        return None
    captions: dict[str, list[str]] = defaultdict(list)
    with table.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            if not {"image", "caption"} <= row.keys():
                raise ConfigError(f"{table} has no columns named image and caption")
            captions[row["image"]].append(row["caption"])
    split_of: dict[str, Split] = {}
    for split in SPLITS:
        names = folder / f"{split}.txt"
        if names.is_file():
            split_of |= dict.fromkeys(names.read_text(encoding="utf-8-sig").split(), split)
    if split_of:
        # A photo that no list names belongs to no split.
        captions = defaultdict(list, {n: c for n, c in captions.items() if n in split_of})
    return {name: (split_of.get(name), said) for name, said in captions.items()}


def _karpathy(folder: Path) -> _Named | None:
    files = sorted(folder.glob("dataset*.json"))
    if not files:
        return None
    return {
        image["filename"]: (
            _SPLIT_NAMES.get(image["split"]),
            [sentence["raw"] for sentence in image["sentences"]],
        )
        for image in _json(files[0])["images"]
    }


def _coco(folder: Path) -> _Named | None:
    files = sorted(folder.rglob("captions_*.json"))
    found: _Named = {}
    for path in files:
        content = _json(path)
        # Of two official parts, the second is held out by everybody; we cut it in two.
        split: Split | None = "train" if "train" in path.name else None
        names = {image["id"]: image["file_name"] for image in content["images"]}
        for said in content["annotations"]:
            found.setdefault(names[said["image_id"]], (split, []))[1].append(said["caption"])
    return found or None


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as exc:
        raise ConfigError(f"{path} is not JSON: {exc}") from exc


def _checked(folder: Path, named: _Named) -> dict[Split, list[Photo]]:
    paths = {path.name: path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES}
    missing = sorted(name for name in named if Path(name).name not in paths)
    if missing:
        raise ConfigError(
            f"{len(missing)} photos that have captions are not below {folder}, the first: "
            f"{missing[0]}"
        )
    official = {split for split, _ in named.values() if split is not None}
    found: dict[Split, list[Photo]] = {split: [] for split in SPLITS}
    for name, (split, captions) in sorted(named.items()):
        own = split if split is not None else _drawn(name, official)
        found[own].append(Photo(paths[Path(name).name], tuple(captions)))
    empty = [split for split in SPLITS if not found[split]]
    if empty:
        raise ConfigError(f"{folder} has no photos for {', '.join(empty)}")
    return found


def _drawn(name: str, official: set[Split]) -> Split:
    """The split of a photo that no list has put anywhere; never train where others are."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % HELD_OUT
    if "train" in official:
        return "dev" if number % 2 else "test"
    return "dev" if number == 0 else "test" if number == 1 else "train"


def texts(files: Sequence[Path], held_out: Iterable[Photo]) -> list[tuple[str, ...]]:
    """Captions without pictures, a line each, plain or gzip; none that a held-out photo has."""
    barred = {words(caption) for photo in held_out for caption in photo.captions}
    found = []
    for path in files:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
        found += [said for line in text.splitlines() if (said := words(line)) not in barred]
    return [said for said in found if 4 <= len(said) < MAX_TOKENS]


def vocabulary(
    seen: Iterable[tuple[str, ...]], read: Iterable[tuple[str, ...]], at_least: tuple[int, int]
) -> list[str]:
    """Words that photos' captions have, and texts, at least so often; sorted."""
    counts = [Counter(word for said in source for word in said) for source in (seen, read)]
    return sorted(
        {word for count, least in zip(counts, at_least, strict=True) for word in count
         if count[word] >= least}
    )  # fmt: skip


def tokenizer(vocabulary: Sequence[str]) -> Tokenizer:
    """A token for each word; `decode` writes `dog 's` as `dog's` again."""
    ids = {word: index for index, word in enumerate((*SPECIAL, *vocabulary))}
    made = Tokenizer(models.WordLevel(ids, unk_token=SPECIAL[3]))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    made.add_special_tokens(list(SPECIAL))
    return made


def token_ids(said: Sequence[tuple[str, ...]], vocabulary: Sequence[str]) -> NDArray[np.int16]:
    """Captions as ids (N, MAX_TOKENS), ended, cut where they are longer, padded with 0."""
    ids = {word: index for index, word in enumerate((*SPECIAL, *vocabulary))}
    rows = np.zeros((len(said), MAX_TOKENS), np.int16)
    for row, caption in zip(rows, said, strict=True):
        known = [ids.get(word, 3) for word in caption[: MAX_TOKENS - 1]]
        row[: len(known) + 1] = [*known, END]
    return rows


def read(photo: Photo, side: int) -> NDArray[np.uint8]:
    """The picture as the encoder sees it, uint8 (side, side, 3) BGR. Raises ConfigError."""
    image = cv2.imread(str(photo.path), cv2.IMREAD_COLOR)
    if image is None:
        raise ConfigError(f"{photo.path} is no picture that can be read")
    if image.shape[:2] != (side, side):
        image = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(image, np.uint8)


def varied(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The picture as another camera might have taken it: mirrored, cropped, recoloured, exposed.

    A third of them go through the project's own camera model, so that webcams are not foreign.
    """
    height, width = image.shape[:2]
    if rng.random() < 0.5:
        image = image[:, ::-1]
    scale, stretch = np.sqrt(rng.uniform(0.6, 1.0)), rng.uniform(0.87, 1.15)
    rows = min(int(height * scale * stretch), height)
    columns = min(int(width * scale / stretch), width)
    top, left = rng.integers(0, height - rows + 1), rng.integers(0, width - columns + 1)
    image = cv2.resize(image[top : top + rows, left : left + columns], (width, height))  # type: ignore[assignment]
    kind = rng.random()
    if kind < 0.35:
        strength = "hard" if rng.random() < 0.3 else "normal"
        image = expose(np.ascontiguousarray(image), rng, strength)
    elif kind < 0.75:
        image = _recoloured(image, rng)
    return np.ascontiguousarray(image)


def _recoloured(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Brightness, white balance, saturation and contrast."""
    pixels = image.astype(np.float32) * rng.uniform(0.7, 1.3) * (1 + rng.uniform(-0.1, 0.1, 3))
    grey = pixels.mean(2, keepdims=True)
    pixels = grey + (pixels - grey) * rng.uniform(0.4, 1.4)
    pixels = (pixels - 128) * rng.uniform(0.75, 1.25) + 128
    coloured: NDArray[np.uint8] = pixels.clip(0, 255).astype(np.uint8)
    return coloured


def two_frames(
    image: NDArray[np.uint8], other: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Two frames of a stream that a camera at the photo's place might give.

    Noise and exposure change always; sometimes the camera moves a little, or a thing, cut from
    another photo, passes.
    """
    before = after = image
    kind = rng.random()
    if kind < 0.25:
        shift = np.array([[1, 0, rng.integers(-14, 15)], [0, 1, rng.integers(-6, 7)]], np.float32)
        after = cv2.warpAffine(image, shift, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT)  # type: ignore[assignment]
    elif kind < 0.5:
        rows, columns = rng.integers(40, 120, 2)
        top, left = (
            rng.integers(0, image.shape[0] - rows),
            rng.integers(0, image.shape[1] - columns),
        )
        after = image.copy()
        after[top : top + rows, left : left + columns] = other[
            top : top + rows, left : left + columns
        ]
    condition = sample_condition(rng)
    nearly = condition.towards(sample_condition(rng), 0.05)
    return expose(before, rng, "normal", condition), expose(after, rng, "normal", nearly)
