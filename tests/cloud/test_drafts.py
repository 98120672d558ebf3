from __future__ import annotations

import pytest

from aiflow.cloud.drafts import Drafts
from aiflow.common.errors import PayloadError
from aiflow.common.metrics import Counters
from aiflow.common.wire import DraftRest, pack_draft_rest

REST = pack_draft_rest(DraftRest(2, (9, 2)))


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def drafts(counters: Counters) -> Drafts:
    return Drafts(counters)


def test_a_rest_is_added_to_its_request(drafts: Drafts, counters: Counters) -> None:
    drafts.expect(b"mine")
    assert drafts.whole(b"mine", (5, 7)) == (5, 7)
    drafts.add(b"mine", REST)
    assert drafts.whole(b"mine", (5, 7)) == (5, 7, 9, 2)
    assert counters.value("aiflow_draft_rests_total") == 1
    drafts.forget(b"mine")
    assert drafts.whole(b"mine", (5, 7)) == (5, 7)


def test_a_rest_that_does_not_follow_is_not_used(drafts: Drafts) -> None:
    drafts.expect(b"mine")
    drafts.add(b"mine", REST)
    assert drafts.whole(b"mine", (5,)) == (5,)


def test_what_belongs_to_no_request_here_is_not_kept(drafts: Drafts, counters: Counters) -> None:
    drafts.expect(None)
    for correlation in (None, b"another"):
        drafts.add(correlation, REST)
        drafts.add(correlation, b"not even a message")
        drafts.expect(correlation)
        assert drafts.whole(correlation, (5, 7)) == (5, 7)
        drafts.forget(correlation)
    assert counters.value("aiflow_draft_rests_total") == 0


def test_a_rest_that_cannot_be_read_says_so(drafts: Drafts) -> None:
    drafts.expect(b"mine")
    with pytest.raises(PayloadError):
        drafts.add(b"mine", REST[:-1])
    assert drafts.whole(b"mine", (5, 7)) == (5, 7)
