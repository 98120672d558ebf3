"""What makes the site: its navigation, and what it takes for a command."""

from __future__ import annotations

import commands
import navigation

CONTENTS = """\
# Contents

## Use

| page | for |
|---|---|
| [MQTT](mqtt.md) | topics; see [there](wire.md) |
| [`aiflow`](../cli.md#top) | not a page of its own |
| [Changes](../CHANGELOG.md) | by version |
"""


def test_groups_are_headings_and_pages_are_rows() -> None:
    assert navigation.groups(CONTENTS) == {
        "Use": {"mqtt.md": "MQTT", "../CHANGELOG.md": "Changes"},
    }


def test_the_page_gets_its_groups_for_sphinx() -> None:
    page = navigation.with_navigation(CONTENTS)
    assert page.startswith(CONTENTS.rstrip())
    assert page.endswith(
        "```{toctree}\n:hidden:\n:caption: Use\n\nMQTT <mqtt>\nChanges <../CHANGELOG>\n```\n"
    )


def test_commands_are_lines_without_comments() -> None:
    text = "# first\naiflow watch   # for ever\n\nmosquitto_sub -t 'a/#' \\\n  -v\n"
    block = commands.CodeBlock("a.md", 1, "sh", text, None)
    assert block.commands() == ["aiflow watch", "mosquitto_sub -t 'a/#'    -v"]


def test_a_block_is_found_with_what_it_needs() -> None:
    page = "<!-- needs: a camera -->\n```sh\nrun it\n```\n\n```sh\nother\n```\n"
    needs = [found["needs"] for found in commands.BLOCK.finditer(page)]
    assert needs == ["a camera", None]


def test_programs_of_a_line_are_told_apart() -> None:
    line = "sudo env A=b /opt/bin/aiflow edge --x | jq -r 'a | b' && scripts/demo --y"
    assert list(commands.calls(line)) == [
        ["aiflow", "edge", "--x"],
        ["jq", "-r", "a | b"],
        ["scripts/demo", "--y"],
    ]
