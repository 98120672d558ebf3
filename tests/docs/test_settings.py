"""How a table of settings is made from a class."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

import settings
from aiflow.common.config import Section


class Inner(Section):
    path: Path | None = Field(default=None, description="a file")


class Outer(Section):
    name: str = Field(description="of <it>")
    pace_s: Annotated[float, Field(gt=0, le=1.5)] = Field(default=1.0, description="how often")
    most: Annotated[int, Field(ge=1000)] | None = Field(default=None, description="at most")
    kind: Literal["a", "b"] = Field(default="a", description="which")
    on: bool = Field(default=True, description="whether")
    words: tuple[str, ...] = Field(default_factory=tuple, max_length=8, description="some")
    inner: Inner = Field(default=Inner(), description="a section")
    many: tuple[Inner, ...] = Field(default_factory=tuple, description="sections")


def test_each_key_is_a_row_with_type_limits_unit_and_variable() -> None:
    rows = settings.table(Outer, "AIFLOW_").splitlines()[2:]
    assert rows == [
        "| `name` | text | *required* | of \\<it> | `AIFLOW_NAME` |",
        "| `pace_s` | number, over 0 to 1.5, seconds | `1.0` | how often | `AIFLOW_PACE_S` |",
        "| `most` | whole number, 1,000 or more | *unset* | at most | `AIFLOW_MOST` |",
        '| `kind` | one of `"a"`, `"b"` | `"a"` | which | `AIFLOW_KIND` |',
        "| `on` | `true` or `false` | `true` | whether | `AIFLOW_ON` |",
        "| `words` | list of texts, at most 8 | *unset* | some | `AIFLOW_WORDS` |",
    ]


def test_a_section_of_a_list_has_no_variables() -> None:
    assert settings.table(Inner, None).splitlines()[2:] == ["| `path` | path | *unset* | a file |"]
    assert list(settings._below(Outer, "X_"))[1:] == [(Inner, "X_INNER__"), (Inner, None)]
