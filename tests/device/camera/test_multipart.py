from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from aiflow.device.camera.multipart import MAX_PART_BYTES, MultipartReader, whole


def jpeg(value: int) -> bytes:
    image = np.full((32, 48, 3), value, np.uint8)
    return cv2.imencode(".jpg", image)[1].tobytes()


PICTURES = [jpeg(value) for value in (10, 90, 200)]


def parts(stream: bytes, boundary: str = "frame", step: int = 7) -> list[bytes]:
    """Whatever the network cuts it into."""
    chunks: Iterator[bytes] = (stream[at : at + step] for at in range(0, len(stream), step))
    return list(MultipartReader(lambda: next(chunks, b""), boundary))


def stream(pictures: list[bytes], head: str = "", line: str = "--frame") -> bytes:
    return b"".join(f"{line}\r\n{head}\r\n".encode() + one + b"\r\n" for one in pictures)


@pytest.mark.parametrize("step", [1, 7, 100_000])
@pytest.mark.parametrize(
    "data, boundary",
    [
        (stream(PICTURES), "frame"),
        (stream(PICTURES, "Content-Type: image/jpeg\r\n"), '"frame"'),
        (stream(PICTURES, "content-length: 3\r\n"), "--frame"),
        (stream(PICTURES, "Content-Length: 999999\r\n"), ""),
        (stream(PICTURES, line="--other"), "frame"),
        (stream(PICTURES).removeprefix(b"--frame\r\n\r\n"), "frame"),
        (stream(PICTURES, "A: b\r\n").removeprefix(b"--frame\r\n"), "frame"),
        (b"\r\n" + stream(PICTURES).replace(b"--frame\r\n\r\n", b"--frame\r\n"), "frame"),
        (b"".join(PICTURES), ""),
        (stream(PICTURES) + b"--frame--\r\n", "frame"),
        (stream(PICTURES).replace(b"\r\n", b"\n"), "frame"),
    ],
)
def test_pictures_are_found(data: bytes, boundary: str, step: int) -> None:
    assert parts(data, boundary, step) == PICTURES


@pytest.mark.parametrize(
    "bad", [PICTURES[0][:300], b"", b"<html>busy</html>", bytes(3000), PICTURES[0][:40] + b"x" * 99]
)
@pytest.mark.parametrize("length", ["", "Content-Length: 700\r\n"])
def test_bad_part_costs_itself_only(bad: bytes, length: str) -> None:
    one, two, three = PICTURES
    data = stream([one]) + stream([bad], length) + stream([two, three])
    found = parts(data)
    assert [part for part in found if whole(part)] == PICTURES
    assert len(found) >= 4, "the bad one is to be counted"


def test_part_is_there_before_the_next_one_begins() -> None:
    chunks = iter([stream([PICTURES[0]]).removesuffix(b"\r\n")])

    def read() -> bytes:
        return next(chunks)  # a test that asks for more fails

    assert next(iter(MultipartReader(read, "frame"))) == PICTURES[0]


def test_thumbnail_s_end_is_not_the_picture_s() -> None:
    thumb = PICTURES[1]
    app1 = b"\xff\xe1" + (len(thumb) + 2).to_bytes(2, "big") + thumb
    picture = PICTURES[0][:2] + app1 + PICTURES[0][2:]
    assert parts(stream([picture, PICTURES[2]])) == [picture, PICTURES[2]]


def test_what_never_ends_is_bounded() -> None:
    sent = 0

    def read() -> bytes:
        nonlocal sent
        sent += 1
        return b"\xff\xd8\xff" + bytes(1 << 20)

    assert not whole(next(iter(MultipartReader(read, "frame"))))
    assert sent <= MAX_PART_BYTES / (1 << 20) + 2
