"""The documents keep pace with the code: every setting, every example, link and page."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import commands
import navigation
import settings
from aiflow.cloud.config import CloudConfig
from aiflow.common import config, config_faults
from aiflow.common.config import Section
from aiflow.device.config import DeviceConfig
from aiflow.edge.config import EdgeConfig
from commands import PAGES, ROOT


def _examples() -> list[tuple[str, str]]:
    """(place, text) of each TOML block in the documents."""
    return [(f"{one.page}:{one.line}", one.text) for one in commands.blocks("toml")]


def _anchors(page: Path) -> set[str]:
    """Of the headings, as Markdown renderers make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_configuration_page_has_every_setting() -> None:
    page = settings.PAGE.read_text(encoding="utf-8")
    assert settings.written(page) == page, "the tables are stale: run scripts/docs"


def test_a_section_without_a_table_is_missed() -> None:
    page = settings.PAGE.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="GateConfig"):
        settings.written(page.replace("<!-- settings: GateConfig -->", ""))


@pytest.mark.parametrize("tier", settings.TIERS)
def test_the_variables_of_the_configuration_page_set_those_keys(tier: type[Section]) -> None:
    for section, prefix in settings.sections(tier).values():
        for name in section.model_fields if prefix is not None else ():
            variable = f"{prefix}{name.upper()}"
            (keys,) = config._overlay(tier, {}, settings.PREFIX, {variable: "{}"})
            assert (config_faults.model_at(tier, keys[:-1]), keys[-1]) == (section, name)


def test_the_navigation_lists_every_page() -> None:
    listed = {
        (ROOT / contents).parent.joinpath(path).resolve()
        for contents in navigation.CONTENTS
        for pages in navigation.groups((ROOT / f"{contents}.md").read_text("utf-8")).values()
        for path in pages
    }
    assert set(PAGES) - listed == {ROOT / "docs" / "index.md"}


def test_the_figures_of_the_readme_are_those_of_their_page() -> None:
    readme = (ROOT / "README.md").read_text("utf-8").partition("## Figures")[2].partition("## ")[0]
    sections = (ROOT / "docs" / "figures.md").read_text("utf-8").split("\n## ")
    known = {one.splitlines()[0].lower().replace(" ", "-"): _numbers(one) for one in sections[1:]}
    anchor, wrong = "", []
    for what, value, command in re.findall(
        r"^\| (.+?) \| (.+?) \| (.+?) \|$", readme, re.MULTILINE
    ):
        anchor = command.partition("figures.md#")[2].partition(")")[0] or anchor
        for said in re.findall(r"\d[\d,]*(?:\.\d+)?%?", value):
            number, percent = said.replace(",", "").rstrip("%"), said.endswith("%")
            digits = len(number.partition(".")[2])
            rounded = {round(100 * one if percent else one, digits) for one in known[anchor]}
            wrong += [] if float(number) in rounded else [f"{what}: {said}"]
    assert anchor
    assert wrong == []


def _numbers(text: str) -> list[float]:
    found = re.findall(r"(\d[\d,]*(?:\.\d+)?)(%?)", text)
    return [float(one.replace(",", "")) / (100 if percent else 1) for one, percent in found]


@pytest.mark.parametrize("example", [pytest.param(text, id=at) for at, text in _examples()])
def test_examples_of_configuration_load(example: str) -> None:
    content = tomllib.loads(example)
    kinds: dict[str, type[Section]] = {"device": DeviceConfig, "node": EdgeConfig}
    model = next((kinds[key] for key in kinds if key in content), CloudConfig)
    model.model_validate(content)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            dead.append(link)
    assert dead == []
