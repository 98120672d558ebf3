from __future__ import annotations

from pathlib import Path

import pytest

from aiflow.common.bundle import Bundle
from aiflow.common.errors import ConfigError
from aiflow.training import recipe


def test_the_built_in_bundle_was_made_by_the_recipe_that_is_here() -> None:
    training = Bundle.open("street").manifest.training
    here = recipe.load("street")
    assert training["recipe"] == here.model_dump(mode="json")
    assert training["recipe_digest"] == here.digest


def test_a_wrong_recipe_is_told_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text('name = "wrong"\n')
    with pytest.raises(ConfigError, match=r"wrong\.toml: version: Field required"):
        recipe.load(str(path))
    path.write_text("name =")
    with pytest.raises(ConfigError, match=r"wrong\.toml"):
        recipe.load(str(path))
    with pytest.raises(ConfigError, match="No such file"):
        recipe.load(str(tmp_path / "absent.toml"))
