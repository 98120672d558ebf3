"""The documents keep pace with the code: every setting, every example and every link."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from aiflow.cloud.config import CloudConfig
from aiflow.common.config import Broker, Metrics, Section
from aiflow.device.config import (
    CameraConfig,
    DeviceConfig,
    FallbackConfig,
    GateConfig,
    HomeAssistantConfig,
    ImageConfig,
    OutboxConfig,
    SendingConfig,
)
from aiflow.edge.config import EdgeConfig, TriggerConfig
from aiflow.edge.dashboard.config import DashboardConfig

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
SECTIONS: list[type[Section]] = [
    Broker,
    Metrics,
    DeviceConfig,
    CameraConfig,
    GateConfig,
    OutboxConfig,
    FallbackConfig,
    ImageConfig,
    SendingConfig,
    HomeAssistantConfig,
    EdgeConfig,
    TriggerConfig,
    DashboardConfig,
    CloudConfig,
]
ELSEWHERE = {
    "broker",
    "metrics",
    "camera",
    "gate",
    "outbox",
    "sending",
    "fallback",
    "home_assistant",
    "dashboard",
    "image",
    "trigger",
}
"""Sections inside sections, which have tables of their own."""


def _table(section: type[Section]) -> str:
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for name, field in section.model_fields.items():
        if name in ELSEWHERE:
            continue
        if field.is_required():
            default = "*required*"
        elif field.default_factory is not None or field.default is None:
            default = "*unset*"
        elif isinstance(field.default, bool):
            default = f"`{str(field.default).lower()}`"
        elif isinstance(field.default, str):
            default = f'`"{field.default}"`'
        else:
            default = f"`{field.default}`"
        meaning = (field.description or "").replace("<", r"\<")
        rows.append(f"| `{name}` | {default} | {meaning} |")
    return "\n".join(rows)


def _examples() -> list[tuple[str, str]]:
    """(place, text) of each TOML block in the documents."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.finditer(r"^```toml\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            line = text.count("\n", 0, block.start()) + 1
            found.append((f"{page.relative_to(ROOT)}:{line}", block[1]))
    return found


def _anchors(page: Path) -> set[str]:
    """Of the headings, as Markdown renderers make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_is_in_the_configuration_page(section: type[Section]) -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert _table(section) in page, f"put this table there:\n{_table(section)}"


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
