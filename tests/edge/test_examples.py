from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from aiflow.common.config import load
from aiflow.common.errors import ConfigError
from aiflow.edge.config import EdgeConfig
from aiflow.edge.examples import Example, example_path, read_examples

BUNDLE = "ab" * 32


def example(*frames: list[list[int]], bundle: str = BUNDLE) -> Example:
    return Example(
        bundle=bundle,
        device="pi",
        camera="door",
        learned=1.0,
        levels=(5, 3),
        frames=tuple(tuple(map(tuple, frame)) for frame in frames),
    )


@pytest.fixture
def config(tmp_path: Path) -> EdgeConfig:
    file = tmp_path / "edge.toml"
    file.write_text(
        f'ledger = "{tmp_path / "ledger.sqlite"}"\n[[trigger]]\nname = "gate"\nlike = "open"\n'
    )
    return load(EdgeConfig, file, environ={})


def test_similarity_is_nearness_of_levels_whatever_their_number() -> None:
    shown = example([[0, 0], [4, 2]])
    assert shown.similarity(np.array([[0, 0], [4, 2]], np.uint8)) == 1.0
    assert shown.similarity(np.array([[4, 2], [0, 0]], np.uint8)) == 0.0
    assert shown.similarity(np.array([[1, 0], [4, 1]], np.uint8)) == pytest.approx(1 - 0.75 / 4)


def test_only_tokens_that_both_have_are_compared() -> None:
    shown = example([[0, 0], [4, 2]])
    assert shown.similarity(np.array([[0, 0]], np.uint8)) == 1.0
    assert example([[0, 0]]).similarity(np.array([[0, 0], [4, 2]], np.uint8)) == 1.0


def test_the_frame_that_is_most_alike_counts() -> None:
    shown = example([[0, 0]], [[4, 2]])
    assert shown.similarity(np.array([[4, 2]], np.uint8)) == 1.0


@pytest.mark.parametrize("frame", [[[0]], [[0, 0, 0]], [[5, 0]], [[0, 3]], []])
def test_what_no_frame_can_be_is_refused(frame: list[list[int]]) -> None:
    with pytest.raises(ValidationError):
        example(frame)


def test_examples_are_read_by_name(config: EdgeConfig) -> None:
    path = example_path(config, "open")
    path.write_bytes(example([[1, 2]]).to_json())
    assert read_examples(config, {BUNDLE}) == {"open": example([[1, 2]])}


@pytest.mark.parametrize(
    "content, sentence",
    [
        (None, "is not there; make it with aiflow trigger learn open"),
        (b"no JSON", "is damaged: Example is not JSON"),
        (b'{"version": 2}', "is damaged: Example of version 2"),
        (example([[1, 2]], bundle="cd" * 32).to_json(), "another bundle; learn it again"),
    ],
)
def test_what_is_wrong_names_the_trigger(
    config: EdgeConfig, content: bytes | None, sentence: str
) -> None:
    if content is not None:
        example_path(config, "open").write_bytes(content)
    with pytest.raises(ConfigError, match=f"trigger gate: its example .*{sentence}"):
        read_examples(config, {BUNDLE})
