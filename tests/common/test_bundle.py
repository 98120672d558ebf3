from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from aiflow.common.bundle import MANIFEST, Bundle
from aiflow.common.errors import BundleChanged, BundleInvalid, BundleNotFound


def edit(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | changes))


def test_a_whole_bundle_opens_and_its_id_is_the_hash_of_its_manifest(made_up_bundle: Path) -> None:
    bundle = Bundle.open(made_up_bundle)
    assert bundle.id == hashlib.sha256((made_up_bundle / MANIFEST).read_bytes()).hexdigest()
    assert bundle.tag.hex() == bundle.id[:4]
    assert bundle.tables.tokens == bundle.tokens == 4
    assert bundle.input_size == (32, 24)


def test_one_changed_byte_is_found_and_the_file_named(made_up_bundle: Path) -> None:
    with (made_up_bundle / "encoder.onnx").open("ab") as file:
        file.write(b"!")
    with pytest.raises(BundleChanged, match=r"encoder\.onnx was changed"):
        Bundle.open(made_up_bundle)


def test_a_missing_file_is_named(made_up_bundle: Path) -> None:
    (made_up_bundle / "tables.npz").unlink()
    with pytest.raises(BundleChanged, match=r"tables\.npz cannot be read"):
        Bundle.open(made_up_bundle)


def test_a_bundle_that_is_nowhere_lists_the_built_in_ones(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFound, match="street"):
        Bundle.open(tmp_path / "nothing")


def test_an_unknown_key_in_the_manifest_is_named(made_up_bundle: Path) -> None:
    edit(made_up_bundle, colour="red")
    with pytest.raises(BundleInvalid, match="colour"):
        Bundle.open(made_up_bundle)


def test_another_format_is_refused(made_up_bundle: Path) -> None:
    edit(made_up_bundle, format=99)
    with pytest.raises(BundleInvalid, match="format 99"):
        Bundle.open(made_up_bundle)


def test_a_file_outside_the_bundle_is_refused(made_up_bundle: Path) -> None:
    edit(made_up_bundle, sha256={"../secret": "0" * 64})
    with pytest.raises(BundleInvalid, match="outside the bundle"):
        Bundle.open(made_up_bundle)


def test_a_role_must_name_a_hashed_file(made_up_bundle: Path) -> None:
    edit(made_up_bundle, roles={"tables": "other.npz"})
    with pytest.raises(BundleInvalid, match="role tables"):
        Bundle.open(made_up_bundle)


def test_the_built_in_bundle_is_whole() -> None:
    assert Bundle.open("street").manifest.name == "street"
