from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from aiflow.common.errors import ConfigError
from aiflow.rig.link import EmulatedLink, LinkSpec
from aiflow.rig.relay import BUFFER_BYTES

GOES = 20


@pytest.mark.parametrize(
    "text, rate_bytes_s, rtt_s",
    [
        ("25KB/s,50ms", 25_000, 0.05),
        ("2kB/s, 0.2s", 2_000, 0.2),
        ("1.25MB/s,20ms", 1_250_000, 0.02),
        ("1Mbit/s,0ms", 125_000, 0.0),
        ("300B/s,1s", 300, 1.0),
        ("unlimited,100ms", None, 0.1),
    ],
)
def test_a_link_is_read_from_words(text: str, rate_bytes_s: float | None, rtt_s: float) -> None:
    assert LinkSpec.parse(text) == LinkSpec(rate_bytes_s, rtt_s)


@pytest.mark.parametrize(
    "text",
    [
        *("", "fast", "25KB/s", "25KB/s,", "25,50", "-1KB/s,5ms", "0.5B/s,1ms", "1KB/s,50ms,9"),
        *("1KB/s,50ms,", "1KB/s,5ms,1%"),
    ],
)
def test_what_is_no_link_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match="link"):
        LinkSpec.parse(text)


@pytest.mark.parametrize("text", ["25KB/s,50ms", "1.25MB/s,20ms", "unlimited,100ms", "2KB/s,0ms"])
def test_a_link_is_written_as_it_is_read(text: str) -> None:
    assert str(LinkSpec.parse(text)) == text


def test_transmission_is_serial_time_and_half_a_round_trip() -> None:
    assert LinkSpec(1000, 0.2).transmission_s(500) == pytest.approx(0.6)
    assert LinkSpec(None, 0.2).transmission_s(10**9) == pytest.approx(0.1)


@pytest.mark.parametrize(
    "text, sizes",
    [
        ("2KB/s,200ms", (40, 400)),
        ("25KB/s,50ms", (40, 4_000)),
        ("125KB/s,50ms", (400, 20_000)),
        ("1.25MB/s,20ms", (400, 100_000)),
        ("unlimited,60ms", (1, 50_000)),
    ],
)
def test_measured_time_is_the_computed_one(text: str, sizes: tuple[int, ...]) -> None:
    """Within 10% and 5 ms in one of some goes, since other programs run beside this one."""
    spec = LinkSpec.parse(text)
    with connected(spec) as ends:
        for size in sizes:
            computed_s = spec.transmission_s(size)
            goes: list[float] = []
            while not goes or abs(goes[-1] - computed_s) > 0.1 * computed_s + 0.005:
                assert len(goes) < GOES, (size, computed_s, goes)
                goes += sorted(crossing_s(ends, size) for _ in range(3))[1:2]


class Ends:
    """A client connected through a link to a listener."""

    def __init__(self, link: EmulatedLink, client: socket.socket, server: socket.socket) -> None:
        self.link, self.client, self.server = link, client, server


@contextlib.contextmanager
def connected(spec: LinkSpec | None = None) -> Iterator[Ends]:
    with (
        contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener,
        EmulatedLink("127.0.0.1", listener.getsockname()[1], spec) as link,
        socket.create_connection(("127.0.0.1", link.port), timeout=5.0) as client,
    ):
        listener.settimeout(5.0)
        server, _ = listener.accept()
        with server:
            server.settimeout(5.0)
            yield Ends(link, client, server)


def take(end: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        chunk = end.recv(size - len(content))
        assert chunk, "the connection ended early"
        content += chunk
    return content


def crossing_s(ends: Ends, size: int) -> float:
    """Seconds from the sending of `size` bytes to the arrival of the last."""
    writer = threading.Thread(target=ends.client.sendall, args=(bytes(size),))
    began = time.monotonic()
    writer.start()
    take(ends.server, size)
    took_s = time.monotonic() - began
    writer.join()
    return took_s


def test_bytes_of_each_direction_are_counted_and_unchanged() -> None:
    with connected() as ends:
        up, down = bytes(range(256)) * 40, b"receipt"
        ends.client.sendall(up)
        assert take(ends.server, len(up)) == up
        ends.server.sendall(down)
        assert take(ends.client, len(down)) == down
        assert (ends.link.up_bytes, ends.link.down_bytes) == (len(up), len(down))


def test_a_new_connection_costs_one_round_trip() -> None:
    began = time.monotonic()
    with connected(LinkSpec(None, 0.1)) as ends:
        opened_s = time.monotonic() - began
        ends.client.sendall(b"x")
        take(ends.server, 1)
    assert opened_s == pytest.approx(0.1, abs=0.03)


def test_the_end_of_a_stream_comes_through_after_its_bytes() -> None:
    with connected(LinkSpec(10_000, 0.02)) as ends:
        ends.client.sendall(b"last words")
        ends.client.shutdown(socket.SHUT_WR)
        assert take(ends.server, 10) == b"last words"
        assert ends.server.recv(1) == b""
        ends.server.sendall(b"answer")  # the other direction is still open
        assert take(ends.client, 6) == b"answer"


def test_a_sender_is_held_back_when_the_line_is_full() -> None:
    with connected(LinkSpec(20_000, 0.0)) as ends:
        ends.client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ends.client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            ends.client.sendall(bytes(16_000_000))
        # Beyond what has crossed: the line's buffer, and one chunk over it. The rest waits in
        # the sockets of the operating system.
        assert ends.link.up_bytes < 20_000 * 1.0 + BUFFER_BYTES + 1460


def test_a_silent_cut_stops_bytes_and_healing_lets_them_go_on() -> None:
    with connected(LinkSpec(None, 0.02)) as ends:
        ends.link.cut()
        ends.client.sendall(b"held")
        ends.server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            ends.server.recv(1)
        ends.link.heal()
        ends.server.settimeout(5.0)
        assert take(ends.server, 4) == b"held"


def test_bytes_under_way_when_the_link_is_cut_take_their_time_after_it_heals() -> None:
    with connected(LinkSpec(None, 0.4)) as ends:
        ends.client.sendall(b"x")
        time.sleep(0.05)
        ends.link.cut()
        time.sleep(0.3)
        ends.link.heal()
        healed = time.monotonic()
        take(ends.server, 1)
        assert time.monotonic() - healed == pytest.approx(0.15, abs=0.05)


def test_a_connection_opened_during_a_silent_cut_works_once_it_heals() -> None:
    with (
        contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener,
        EmulatedLink("127.0.0.1", listener.getsockname()[1]) as link,
    ):
        link.cut()
        with socket.create_connection(("127.0.0.1", link.port), timeout=5.0) as client:
            client.sendall(b"hello")
            listener.settimeout(0.2)
            with pytest.raises(TimeoutError):
                listener.accept()
            link.heal()
            listener.settimeout(5.0)
            server, _ = listener.accept()
            with server:
                assert take(server, 5) == b"hello"


def test_a_cut_with_reset_aborts_both_ends_and_refuses_until_it_heals() -> None:
    with connected() as ends:
        ends.link.cut(reset=True)
        for end in (ends.client, ends.server):
            with contextlib.suppress(ConnectionResetError):
                assert end.recv(1) == b""
        with socket.create_connection(("127.0.0.1", ends.link.port), timeout=5.0) as again:
            again.settimeout(5.0)
            with contextlib.suppress(ConnectionResetError):
                assert again.recv(1) == b""
        ends.link.heal()


def test_a_client_is_reset_when_the_broker_is_not_there() -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    with (
        EmulatedLink("127.0.0.1", port) as link,
        socket.create_connection(("127.0.0.1", link.port), timeout=5.0) as client,
        contextlib.suppress(ConnectionResetError),
    ):
        assert client.recv(1) == b""


def test_a_closed_link_leaves_no_thread_and_no_port() -> None:
    with connected() as ends:
        port = ends.link.port
    assert not [thread for thread in threading.enumerate() if thread.name == "link"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1.0)


def test_connections_share_the_rate() -> None:
    with (
        contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener,
        EmulatedLink("127.0.0.1", listener.getsockname()[1], LinkSpec(20_000, 0.0)) as link,
        socket.create_connection(("127.0.0.1", link.port)) as one,
        socket.create_connection(("127.0.0.1", link.port)) as two,
    ):
        listener.settimeout(5.0)
        ends = [listener.accept()[0] for _ in (one, two)]
        began = time.monotonic()
        one.sendall(bytes(2_000))
        two.sendall(bytes(2_000))
        for end in ends:
            take(end, 2_000)
            end.close()
        assert time.monotonic() - began == pytest.approx(0.2, abs=0.05)
