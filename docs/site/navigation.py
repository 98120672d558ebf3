"""The site's navigation, read off pages of contents: each heading is a group, each row a page.

    ## Use                                      Use
    | page | for |                                MQTT
    |---|---|                              ->     Home Assistant
    | [MQTT](mqtt.md) | topics, JSON |
    | [Home Assistant](home-assistant.md) | … |

So the list that people read on a code host and the one beside each page cannot differ.
"""

from __future__ import annotations

import re
from typing import Final

CONTENTS: Final = ("docs/index", "docs/decisions/README")
"""Pages whose tables list other pages, without their ending."""


def groups(text: str) -> dict[str, dict[str, str]]:
    """Heading to the pages in the tables below it: path as written to what the link says."""
    found: dict[str, dict[str, str]] = {}
    heading = ""
    for line in text.splitlines():
        if title := re.match(r"#+ (.+)", line):
            heading = title[1]
        elif row := re.match(r"\| \[([^\]]+)\]\(([^)#]+\.md)\) \|", line):
            found.setdefault(heading, {})[row[2]] = row[1].replace("`", "")
    return found


def with_navigation(text: str) -> str:
    """The page with a hidden table of contents for Sphinx behind it, one for each group."""
    parts = [text.rstrip()]
    for heading, pages in groups(text).items():
        entries = [f"{title} <{path.removesuffix('.md')}>" for path, title in pages.items()]
        parts.append("\n".join(["```{toctree}", ":hidden:", f":caption: {heading}", "", *entries]))
        parts[-1] += "\n```"
    return "\n\n".join(parts) + "\n"
