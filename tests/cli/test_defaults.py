from __future__ import annotations

import re
import tomllib

import pytest
from pydantic import BaseModel, Field

from aiflow.cli.defaults import commented
from aiflow.cli.install import MODELS, configuration
from aiflow.common.config import Section


def uncommented(text: str) -> str:
    """All settings that show a default, set to it."""
    lines = [re.sub(r"^# (\w+ = )", r"\1", line) for line in text.splitlines()]
    return "\n".join(line for line in lines if not line.endswith((" = ...", ' = "..."')))


def models_in(model: type[BaseModel]) -> list[type[BaseModel]]:
    """The model of a tier and those of its sections."""
    found: list[type[BaseModel]] = [model]
    for field in model.model_fields.values():
        if field.default_factory is tuple:  # shown as an empty list
            continue
        inner = field.annotation
        for each in (inner, *getattr(inner, "__args__", ())):
            if isinstance(each, type) and issubclass(each, BaseModel):
                found += models_in(each)
    return found


@pytest.mark.parametrize("tier", MODELS)
def test_file_is_valid_and_changes_no_default(tier: str) -> None:
    model = MODELS[tier]
    text = configuration(tier, "pi")
    given = tomllib.loads(text)
    assert set(given) <= {"device", "broker", "camera", *model.model_fields}
    filled = tomllib.loads(uncommented(text))
    unset = {"worker"}  # made anew each time
    assert model.model_validate(given).model_dump(exclude=unset) == model.model_validate(
        filled
    ).model_dump(exclude=unset)


@pytest.mark.parametrize("tier", MODELS)
def test_every_setting_is_there_with_its_description(tier: str) -> None:
    text = configuration(tier, "pi")
    words = " ".join(text.replace("\n# ", " ").split())
    for model in models_in(MODELS[tier]):
        for name, field in model.model_fields.items():
            assert re.search(rf"^(# )?{name} = |^\[+{name}\]+$", text, re.MULTILINE), name
            assert " ".join((field.description or "").split()) in words


@pytest.mark.parametrize("tier", MODELS)
def test_lines_are_short(tier: str) -> None:
    assert max(map(len, configuration(tier, "pi").splitlines())) <= 100


def test_shapes_of_a_setting() -> None:
    class Inner(Section):
        size: int | None = Field(default=None, description="a size")

    class Outer(Section):
        name: str = Field(description="a name")
        keys: dict[str, str] = Field(default_factory=dict, description="keys")
        inner: Inner = Field(default=Inner(), description="inside")
        many: tuple[Inner, ...] = Field(default=(), description="several")

    assert commented(Outer, {"name": 'a "b"', "many": [{"size": 1}, {}]}) == (
        '# a name\nname = "a \\"b\\""\n\n# keys\n# keys = {}\n\n\n'
        "# inside\n[inner]\n# a size\n# size = ...\n\n\n"
        "# several\n[[many]]\n# a size\nsize = 1\n\n\n"
        "# several\n[[many]]\n# a size\n# size = ...\n"
    )
