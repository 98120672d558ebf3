from __future__ import annotations

import re
from pathlib import Path

import pytest

from aiflow.common.errors import ConfigError
from aiflow.common.topics import CAMERA_LEAVES, NameKind, Topics, check_name

TOPICS = Topics()


def test_names_of_topics() -> None:
    assert TOPICS.available("porch") == "aiflow/porch/available"
    assert TOPICS.device_stats("porch") == "aiflow/porch/stats"
    assert TOPICS.status("porch", "north") == "aiflow/porch/north/status"
    assert TOPICS.descriptor("porch", "north") == "aiflow/porch/north/descriptor"
    assert TOPICS.embedding("porch", "north") == "aiflow/porch/north/embedding"
    assert TOPICS.refine("porch", "north") == "aiflow/porch/north/refine"
    assert TOPICS.receipt("porch", "north") == "aiflow/porch/north/receipt"
    assert TOPICS.caption("porch", "north") == "aiflow/porch/north/caption"
    assert TOPICS.event("porch", "north") == "aiflow/porch/north/event"
    assert TOPICS.enabled_set("porch", "north") == "aiflow/porch/north/enabled/set"
    assert TOPICS.enabled_state("porch", "north") == "aiflow/porch/north/enabled/state"
    assert TOPICS.edge_available("edge1") == "aiflow/edge/edge1/available"
    assert TOPICS.edge_stats("edge1") == "aiflow/edge/edge1/stats"
    assert TOPICS.edge_reply("edge1") == "aiflow/edge/edge1/reply"
    assert TOPICS.cloud_request("default") == "aiflow/cloud/default/request"
    assert TOPICS.shared_cloud_request("gpu") == "$share/gpu/aiflow/cloud/gpu/request"


def test_filters() -> None:
    assert TOPICS.any_available == "aiflow/+/available"
    assert TOPICS.any_device_stats == "aiflow/+/stats"
    assert TOPICS.any_status == "aiflow/+/+/status"
    assert TOPICS.any_descriptor == "aiflow/+/+/descriptor"
    assert TOPICS.any_embedding == "aiflow/+/+/embedding"
    assert TOPICS.any_event == "aiflow/+/+/event"
    assert TOPICS.any_edge_available == "aiflow/edge/+/available"
    assert TOPICS.any_edge_stats == "aiflow/edge/+/stats"


@pytest.mark.parametrize("prefix", ["aiflow", "home/cameras"])
@pytest.mark.parametrize("leaf", sorted(CAMERA_LEAVES))
def test_parse_takes_a_camera_topic_apart(prefix: str, leaf: str) -> None:
    topics = Topics(prefix)
    assert topics.parse(f"{prefix}/porch/front door/{leaf}") == ("porch", "front door", leaf)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "aiflow",
        "aiflow/porch",
        "aiflow/porch/available",
        "aiflow/porch/north",
        "aiflow/porch/north/unheard",
        "aiflow/porch/north/embedding/more",
        "aiflow/edge/north/embedding",
        "aiflow/cloud/north/embedding",
        "aiflow//north/embedding",
        "aiflow/porch//embedding",
        "aiflow/+/north/embedding",
        "aiflowx/porch/north/embedding",
        "other/porch/north/embedding",
        f"aiflow/{'x' * 65}/north/embedding",
    ],
)
def test_parse_knows_what_is_no_camera_topic(topic: str) -> None:
    assert TOPICS.parse(topic) is None


def test_parse_of_devices_and_edges() -> None:
    assert TOPICS.parse_device("aiflow/porch/available") == ("porch", "available")
    assert TOPICS.parse_device("aiflow/porch/stats") == ("porch", "stats")
    assert TOPICS.parse_device("aiflow/edge/available") is None
    assert TOPICS.parse_device("aiflow/porch/north/available") is None
    assert TOPICS.parse_device("aiflow/porch/other") is None
    assert TOPICS.parse_edge("aiflow/edge/edge1/available") == ("edge1", "available")
    assert TOPICS.parse_edge("aiflow/porch/edge1/available") is None
    assert TOPICS.parse_edge("aiflow/edge/edge1/embedding") is None
    assert TOPICS.parse_edge("aiflow/edge/available") is None


@pytest.mark.parametrize("name", ["a", "Front door", "käfer", "x" * 64, "日" * 21, "a$b"])
@pytest.mark.parametrize("kind", ["device", "camera", "node", "pool", "prefix"])
def test_fit_names(kind: NameKind, name: str) -> None:
    assert check_name(kind, name) == name


@pytest.mark.parametrize(
    "name, word",
    [
        ("", "empty"),
        ("x" * 65, "longer"),
        ("日" * 22, "longer"),
        ("a/b", "'/'"),
        ("a+", "'\\+'"),
        ("#", "'#'"),
        ("$share", "begins with"),
        (" a", "blank"),
        ("a\n", "blank"),
        ("a\nb", "control"),
        ("a\0b", "control"),
        ("a\x9fb", "control"),
        ("a\ud800", "control"),
        ("a\uffff", "control"),
    ],
)
@pytest.mark.parametrize("kind", ["device", "camera", "node", "pool"])
def test_unfit_names(kind: NameKind, name: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        check_name(kind, name)
    assert str(caught.value).startswith(f"{kind} name ")


@pytest.mark.parametrize("name", ["edge", "cloud"])
def test_reserved_names(name: str) -> None:
    with pytest.raises(ConfigError, match="reserved"):
        TOPICS.available(name)
    assert check_name("camera", name) == name


@pytest.mark.parametrize("prefix", ["", "a//b", "/a", "a/", "a/+", "#"])
def test_unfit_prefixes(prefix: str) -> None:
    with pytest.raises(ConfigError, match="prefix"):
        Topics(prefix)


def test_the_table_of_topics_has_every_one_of_cameras() -> None:
    page = (Path(__file__).parents[2] / "docs" / "mqtt.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `aiflow/<device>/<camera>/([\w/]+)` \|", page, re.MULTILINE)
    assert sorted(rows) == sorted(CAMERA_LEAVES)
