"""Network cameras for tests, each a process of its own; the port is the first line of its output.

    python streams.py rtsp|http plays|stalls|babbles|errs|drips|trickles

plays: pictures with noise, 25 a second. stalls: after 25 of them the connection stays up, silent.
babbles: after 25 of them random bytes come instead. errs: each 10th is damaged. drips: a picture
each 2.5 s. trickles: each takes 2 s on its way.

RTSP is the least of RFC 2326 that a client needs, with JPEG in RTP (RFC 2435) on the same
connection; HTTP is motion JPEG as network cameras serve it.
"""

from __future__ import annotations

import os
import socketserver
import struct
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count

import cv2
import numpy as np

SIZE = (160, 120)
FPS = 25.0
BEFORE = 25
MTU = 1200

Send = Callable[[bytes], object]


def jpegs(fps: float) -> Iterator[bytes]:
    """At their pace."""
    random = np.random.default_rng(7)
    due = time.monotonic()
    while True:
        image = random.integers(90, 160, (SIZE[1], SIZE[0], 3), np.uint8)
        yield cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1].tobytes()
        due += 1 / fps
        time.sleep(max(0.0, due - time.monotonic()))


def show(behaviour: str, send: Send, wrapped: Callable[[int, bytes], Iterator[bytes]]) -> None:
    for number, jpeg in enumerate(jpegs(0.4 if behaviour == "drips" else FPS)):
        if behaviour == "trickles":
            for packet in wrapped(number, jpeg):
                for at in range(0, len(packet), len(packet) // 19):
                    send(packet[at : at + len(packet) // 19])
                    time.sleep(0.1)
        elif behaviour == "errs" and number % 10 == 9:
            for packet in wrapped(number, damaged(jpeg)):
                send(packet)
        elif behaviour in {"plays", "errs", "drips"} or number < BEFORE:
            for packet in wrapped(number, jpeg):
                send(packet)
        elif behaviour == "babbles":
            send(os.urandom(4096))
        # else nothing more


def damaged(jpeg: bytes) -> bytes:
    """Cut short, in its scan."""
    return jpeg[: jpeg.index(b"\xff\xda") + 20]


def multipart(_number: int, jpeg: bytes) -> Iterator[bytes]:
    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
    yield head.encode() + jpeg + b"\r\n"


def interleaved(number: int, jpeg: bytes, sequence: Iterator[int]) -> Iterator[bytes]:
    """RTP packets of RFC 2435, each behind `$`, channel 0 and its length."""
    tables, scan = segments(jpeg)
    offset = 0
    while offset < len(scan):
        head = struct.pack(
            ">B3sBBBB", 0, offset.to_bytes(3, "big"), 1, 255, SIZE[0] // 8, SIZE[1] // 8
        )
        if offset == 0:
            head += struct.pack(">BBH", 0, 0, len(tables)) + tables
        part = scan[offset : offset + MTU]
        offset += len(part)
        last = offset == len(scan)
        rtp = struct.pack(
            ">BBHII",
            0x80,
            26 | (0x80 if last else 0),
            next(sequence) & 0xFFFF,
            round(number * 90_000 / FPS) & 0xFFFFFFFF,
            1,
        )
        packet = rtp + head + part
        yield struct.pack(">cBH", b"$", 0, len(packet)) + packet


def segments(jpeg: bytes) -> tuple[bytes, bytes]:
    """Quantization tables, and the entropy-coded scan without its end marker."""
    tables, at = b"", 2
    while True:
        marker, length = struct.unpack_from(">HH", jpeg, at)
        body = jpeg[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == 0xFFDB:
            while body:
                tables += body[1:65]
                body = body[65:]
        if marker == 0xFFDA:
            return tables, jpeg[at:-2]


class Handler(socketserver.StreamRequestHandler):
    protocol = behaviour = ""

    def handle(self) -> None:
        try:
            if self.protocol == "http":
                self.request_head()
                self.wfile.write(
                    b"HTTP/1.0 200 OK\r\n"
                    b"Content-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
                )
                show(self.behaviour, self.wfile.write, multipart)
            else:
                self.rtsp()
        except OSError:
            pass  # the client has had enough

    def request_head(self) -> list[str]:
        lines = []
        while line := self.rfile.readline(65_536).strip():
            lines.append(line.decode(errors="replace"))
        return lines

    def rtsp(self) -> None:
        while lines := self.request_head():
            method, url = lines[0].split()[:2]
            fields = dict(line.partition(":")[::2] for line in lines[1:])
            answer, body = "", ""
            status = "200 OK"
            if method == "OPTIONS":
                answer = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            elif method == "DESCRIBE":
                body = (
                    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
                    f"m=video 0 RTP/AVP 26\r\na=framerate:{FPS:g}\r\na=control:track1\r\n"
                )
                answer = f"Content-Base: {url}/\r\nContent-Type: application/sdp\r\n"
                answer += f"Content-Length: {len(body)}\r\n"
            elif method == "SETUP" and "TCP" not in fields.get("Transport", ""):
                status = "461 Unsupported Transport"
            elif method == "SETUP":
                answer = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
            head = f"RTSP/1.0 {status}\r\nCSeq: {fields['CSeq'].strip()}\r\n{answer}\r\n"
            self.wfile.write((head + body).encode())
            if method == "PLAY":
                wrapped = partial(interleaved, sequence=count())
                show(self.behaviour, self.wfile.write, wrapped)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


if __name__ == "__main__":
    Handler.protocol, Handler.behaviour = sys.argv[1:]
    with Server(("127.0.0.1", 0), Handler) as server:
        sys.stdout.write(f"{server.server_address[1]}\n")
        sys.stdout.flush()
        server.serve_forever()
