from __future__ import annotations

import gzip
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from aiflow.common.errors import ConfigError
from aiflow.training import photo_data


def _pictures(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        cv2.imwrite(str(folder / name), np.full((8, 12, 3), 90, np.uint8))


def _flickr(folder: Path) -> Path:
    names = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    _pictures(folder / "images", names)
    rows = [f"{name},A dog number {n} ." for name in names for n in range(5)]
    (folder / "captions.csv").write_text("\ufeffimage,caption\n" + "\n".join(rows))
    for split, members in (("train", "a.jpg b.jpg"), ("dev", "c.jpg"), ("test", "d.jpg")):
        (folder / f"{split}.txt").write_text("\n".join(members.split()))
    return folder


def _karpathy(folder: Path) -> Path:
    names = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    _pictures(folder, names)
    splits = ["train", "restval", "val", "test"]
    images = [
        {"filename": name, "split": split, "sentences": [{"raw": "A dog."}]}
        for name, split in zip(names, splits, strict=True)
    ]
    (folder / "dataset_flickr8k.json").write_text(json.dumps({"images": images}))
    return folder


def _coco(folder: Path) -> Path:
    names = {
        "train2017": [f"t{n}.jpg" for n in range(3)],
        "val2017": [f"v{n}.jpg" for n in range(12)],
    }
    (folder / "annotations").mkdir(parents=True)
    for part, members in names.items():
        _pictures(folder / part, members)
        content = {
            "images": [{"id": n, "file_name": name} for n, name in enumerate(members)],
            "annotations": [{"image_id": n, "caption": "A dog."} for n in range(len(members))],
        }
        (folder / "annotations" / f"captions_{part}.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("layout", [_flickr, _karpathy, _coco])
def test_each_layout_is_read_and_no_photo_is_in_two_splits(layout: object, tmp_path: Path) -> None:
    photos = photo_data.load(layout(tmp_path / "data"))  # type: ignore[operator]
    names = {split: {photo.path.name for photo in of} for split, of in photos.items()}
    assert all(names.values())
    assert sum(map(len, names.values())) == len(set().union(*names.values()))
    assert all(photo.captions for of in photos.values() for photo in of)


def test_official_splits_are_kept(tmp_path: Path) -> None:
    photos = photo_data.load(_flickr(tmp_path))
    assert [photo.path.name for photo in photos["train"]] == ["a.jpg", "b.jpg"]
    assert photos["dev"][0].captions[2] == "A dog number 2 ."
    coco = photo_data.load(_coco(tmp_path / "coco"))
    assert {photo.path.name[0] for photo in coco["train"]} == {"t"}
    assert {photo.path.name[0] for photo in [*coco["dev"], *coco["test"]]} == {"v"}


def test_what_is_no_data_set_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"neither captions.csv"):
        photo_data.load(tmp_path)
    (_flickr(tmp_path) / "images" / "b.jpg").unlink()
    with pytest.raises(ConfigError, match=r"1 photos that have captions .* the first: b.jpg"):
        photo_data.load(tmp_path)
    (tmp_path / "captions.csv").write_text("file;text\n")
    (tmp_path / "captions.csv").write_text("file,text\na.jpg,A dog.\n")
    with pytest.raises(ConfigError, match="no columns named image and caption"):
        photo_data.load(tmp_path)


def test_texts_leave_out_what_a_held_out_photo_has(tmp_path: Path) -> None:
    held = [photo_data.Photo(tmp_path, ("A dog's tail is wet .",))]
    lines = "a dog's tail, is wet\na cat sleeps on a bed\nno\n"
    (tmp_path / "some.txt").write_text(lines)
    (tmp_path / "more.txt.gz").write_bytes(gzip.compress(b"two men ride a horse\n"))
    files = [tmp_path / "some.txt", tmp_path / "more.txt.gz"]
    assert photo_data.texts(files, held) == [
        ("a", "cat", "sleeps", "on", "a", "bed"),
        ("two", "men", "ride", "a", "horse"),
    ]


def test_words_come_back_from_their_tokens() -> None:
    said = photo_data.words("A dog's ball, well-worn, flies.")
    assert said == ("a", "dog", "'s", "ball", "well", "worn", "flies")
    vocabulary = photo_data.vocabulary([said], [], (1, 1))
    tokenizer = photo_data.tokenizer(vocabulary)
    (ids,) = photo_data.token_ids([said], vocabulary)
    text = tokenizer.decode([int(t) for t in ids if t > 2])
    assert text == "a dog's ball well worn flies"
    assert tokenizer.encode("a dog flies").ids == [int(ids[0]), int(ids[1]), int(ids[6])]


def test_variants_are_pictures_of_the_same_size_and_differ() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    made = [photo_data.varied(image, np.random.default_rng(seed)) for seed in range(6)]
    assert {(one.shape, one.dtype) for one in made} == {((64, 64, 3), np.dtype(np.uint8))}
    assert len({one.tobytes() for one in [image, *made]}) == 7
    again = photo_data.varied(image, np.random.default_rng(3))
    np.testing.assert_array_equal(again, made[3])
    frames = photo_data.two_frames(
        np.full((224, 224, 3), 90, np.uint8),
        np.zeros((224, 224, 3), np.uint8),
        np.random.default_rng(1),
    )
    assert all(frame.shape == (224, 224, 3) for frame in frames)
