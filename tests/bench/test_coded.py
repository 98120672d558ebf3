from __future__ import annotations

import numpy as np
import pytest

from aiflow.bench import coded
from aiflow.bench.coded import (
    CONTEXT,
    FIRST_SEQUENCE,
    FPS,
    Coder,
    Sent,
    SentStream,
    send,
)
from aiflow.common.codec import Tables
from aiflow.common.symbols import Decoded, Symbols, decode
from aiflow.common.wire import Header, Kind, pack_receipt, unpack
from aiflow.device.config import SendingConfig
from aiflow.edge.config import EdgeConfig

TABLES = Tables.uniform(4, 3, 5, layers=(2, 4))
CODER = Coder(TABLES, b"ab", 2)


def _still(count: int) -> Symbols:
    """A scene in which hardly anything changes."""
    rng = np.random.default_rng(4)
    frames = np.tile(rng.integers(0, 5, (1, 4, 3)).astype(np.uint8), (count, 1, 1))
    for index in range(10, count, 10):
        frames[index:, 1, 2] = index // 10 % 5
    return frames


def _read(went: SentStream) -> list[Symbols]:
    """What an edge node makes of a stream."""
    headers: dict[int, Header] = {}
    at_hand: dict[int, Decoded] = {}
    for one in went.frames:
        packet = unpack(one.payload, CONTEXT, headers.values())
        headers[packet.sequence] = packet.header
        at_hand[packet.sequence] = decode(packet, TABLES, at_hand)
    return [frame.symbols for frame in at_hand.values()]


def test_key_frames_stand_alone() -> None:
    frames = np.random.default_rng(1).integers(0, 5, (5, 4, 3)).astype(np.uint8)
    for index, one in enumerate(CODER.keys(frames)):
        packet = unpack(one.payload, CONTEXT)
        assert (packet.kind, packet.sequence) == (Kind.KEY, FIRST_SEQUENCE + index)
        np.testing.assert_array_equal(decode(packet, TABLES, {}).symbols, frames[index])
        assert packet.body == one.body
        assert one.ideal_bits == pytest.approx(12 * np.log2(5))


@pytest.mark.parametrize("seed", range(3))
def test_an_edge_node_can_read_the_stream(seed: int) -> None:
    frames = _still(200)
    frames[90:] = np.random.default_rng(seed).integers(0, 5, frames[90:].shape)
    np.testing.assert_array_equal(_read(CODER.stream(CODER.keys(frames))), frames)


def test_a_still_scene_costs_little_between_key_frames() -> None:
    keys = CODER.keys(_still(400))
    went = CODER.stream(keys)
    sent_as_keys = [index for index, one in enumerate(went.frames) if not one.is_delta]
    # Until the first receipt, and then as often as the device is told to.
    first = 1 + round((EdgeConfig().receipt_every_s + coded.ANSWER_S) * FPS)
    assert len(sent_as_keys) <= first + 200 / SendingConfig().key_every_s
    assert sent_as_keys[0] == 0
    longest = max(b - a for a, b in zip(sent_as_keys, [*sent_as_keys[1:], 400], strict=True))
    assert longest <= SendingConfig().key_every_s * FPS + 1
    deltas = [len(one.payload) for one in went.frames if one.is_delta]
    assert np.mean(deltas) < 0.7 * np.mean([len(key.payload) for key in keys])


def test_without_prediction_everything_goes_as_it_is_kept() -> None:
    keys = CODER.keys(_still(30))
    went = send(keys)
    assert [one.payload for one in went.frames] == [key.payload for key in keys]
    assert [one.asked for one in went.frames] == [True] + [False] * 29


def test_every_frame_is_receipted_once_and_after_it_was_sent() -> None:
    went = CODER.stream(CODER.keys(_still(50)))
    covered = [sequence for _, sequences in went.receipts for sequence in sequences]
    assert covered == [FIRST_SEQUENCE + index for index in range(50)]
    for before, sequences in went.receipts:
        assert sequences[-1] < FIRST_SEQUENCE + before


def test_receipts_are_gathered_for_as_long_as_the_edge_is_told_to() -> None:
    went = send(CODER.keys(_still(40)))
    each = round(EdgeConfig().receipt_every_s * FPS)
    assert [len(sequences) for _, sequences in went.receipts] == [each] * (40 // each)


def test_a_codec_that_lies_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coded, "decompress", lambda *_, **__: np.zeros((4, 3), np.uint8))
    with pytest.raises(RuntimeError, match="other symbols"):
        CODER.keys(np.ones((1, 4, 3), np.uint8))


def test_mqtt_adds_its_headers_pubacks_and_receipts() -> None:
    first, payload = 172_800, bytes([1 << 4 | Kind.KEY]) + bytes(19)
    went = SentStream(
        frames=[
            Sent(first + index, payload, asked=index < 2, timed=index > 9) for index in range(12)
        ],
        receipts=[(4, list(range(first, first + 4))), (12, list(range(first + 4, first + 12)))],
    )
    found = went.socket_bytes()
    # Two with QoS 1 and an expiry, eight with an alias alone, two with QoS 1; and one topic.
    assert found.up * 12 == pytest.approx(
        2 * 35 + 8 * 28 + 2 * 30 + len(b"aiflow/porch/street/embedding")
    )
    receipts = [len(pack_receipt(sequences)) for _, sequences in went.receipts]
    header = 2 + 2 + len(b"aiflow/porch/street/receipt") + 1
    assert found.down * 12 == pytest.approx(4 * 4 + sum(receipts) + 2 * header)
    assert found.mean == found.up + found.down
    assert found.frames_per_receipt == 6
