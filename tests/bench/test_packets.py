from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from aiflow.bench.link import LinkSpec
from aiflow.bench.packets import FAR, NEAR, PacketLink
from aiflow.bench.packets_accuracy import ends, on_air_bytes
from aiflow.bench.packets_space import DEVICE, why_not
from aiflow.common.config import Broker
from aiflow.common.mqtt import Properties, Session

ANSWER_S = 30.0


class Upstream(Protocol):
    """The broker of the fixture `mosquitto`."""

    host: str
    port: int


@pytest.fixture(autouse=True)
def _needs_root() -> None:
    obstacle = why_not()
    if obstacle is not None:
        pytest.skip(obstacle)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + ANSWER_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {ANSWER_S:g} s: {what}"
        time.sleep(0.02)


def packet_link(text: str = "unlimited,0ms", seed: int = 0) -> PacketLink:
    """For datagrams, which need no broker."""
    return PacketLink("127.0.0.1", 0, LinkSpec.parse(text), seed)


def networks() -> set[str]:
    """Network namespaces in which there are processes or threads."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/task/[0-9]*/ns/net"):
        with contextlib.suppress(OSError):
            found.add(str(path.readlink()))
    return found


def devices() -> set[str]:
    """Of this machine's own network."""
    return {name for _, name in socket.if_nameindex()}


def test_datagrams_arrive_unchanged_and_are_counted_with_their_headers() -> None:
    with packet_link() as link, ends(link) as (near, far):
        near.send(b"frame" * 8)
        assert far.recv(100) == b"frame" * 8
        far.send(b"receipt")
        assert near.recv(100) == b"receipt"
        assert (link.up_bytes, link.down_bytes) == (40 + 28, 7 + 28)
        assert (link.up.packets, link.down.packets) == (1, 1)


def test_a_command_inside_sees_the_link_and_no_other_network() -> None:
    listing = "import socket; print(*(name for _, name in socket.if_nameindex()))"
    with packet_link() as link:
        found = subprocess.run(
            link.wrap([sys.executable, "-c", listing]), capture_output=True, text=True, check=True
        )
        assert set(found.stdout.split()) >= {DEVICE, "lo"}
        assert "eth" not in found.stdout
        assert DEVICE not in devices(), "the machine's own network has none of it"


def test_a_client_inside_reaches_a_server_outside() -> None:
    with (
        contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server,
        PacketLink("127.0.0.1", server.getsockname()[1], LinkSpec(None, 0.02)) as link,
    ):
        server.settimeout(ANSWER_S)
        talk = (
            "import socket, sys; end = socket.create_connection((sys.argv[1], int(sys.argv[2])));"
            "end.sendall(b'up' * 500); end.shutdown(1); sys.stdout.write(end.recv(9).decode())"
        )
        with subprocess.Popen(
            link.wrap([sys.executable, "-c", talk, link.host, str(link.port)]),
            stdout=subprocess.PIPE,
        ) as client:
            end, _ = server.accept()
            with end:
                end.settimeout(ANSWER_S)
                content = b"".join(iter(lambda: end.recv(4096), b""))
                end.sendall(b"down")
            assert client.communicate(timeout=ANSWER_S)[0] == b"down"
        assert content == b"up" * 500
        assert link.payload_bytes == (1000, 4)
        # SYN, ACK, at least one segment, FIN: each with 40 bytes of headers or more.
        assert link.up.packets >= 4
        assert link.up_bytes >= 1000 + 4 * 40


def test_a_client_is_reset_when_the_broker_is_not_there() -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    with (
        PacketLink("127.0.0.1", port) as link,
        link.near.call(
            lambda: socket.create_connection((link.host, link.port), timeout=ANSWER_S)
        ) as client,
        contextlib.suppress(ConnectionResetError),
    ):
        assert client.recv(1) == b""


def test_a_large_message_goes_in_as_few_packets_as_it_needs() -> None:
    """In both directions: the gateway does not chop what the broker hands over whole."""
    with (
        contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server,
        PacketLink("127.0.0.1", server.getsockname()[1], LinkSpec(None, 0.05)) as link,
        link.near.call(
            lambda: socket.create_connection((link.host, link.port), timeout=ANSWER_S)
        ) as client,
    ):
        server.settimeout(ANSWER_S)
        end, _ = server.accept()
        with end:
            before = link.down.packets
            end.sendall(bytes(10_000))
            left = 10_000
            while left:
                left -= len(client.recv(left))
            # Seven at best; the broker's machine may hand it over in pieces.
            assert 7 <= link.down.packets - before <= 10


def test_a_full_queue_drops_and_every_packet_is_accounted_for() -> None:
    with packet_link("25KB/s,0ms") as link, ends(link) as (near, far):
        for _ in range(30):
            near.send(bytes(1472))
        wait_until(lambda: link.up.packets + link.up.queue_drops == 30, "all were taken")
        assert link.up.queue_drops > 0
        for _ in range(link.up.packets):
            far.recv(1500)
        assert (link.up.lost, link.up.held_bytes) == (0, 0)


def test_a_cut_link_loses_what_comes_and_what_is_under_way() -> None:
    with packet_link("unlimited,1s") as link, ends(link) as (near, far):
        near.send(b"under way")
        wait_until(lambda: link.up.packets == 1, "it is in the air")
        link.cut()
        near.send(b"too late")
        wait_until(lambda: link.up.cut_off == 2, "both are lost")
        link.heal()
        near.send(b"again")
        assert far.recv(100) == b"again"


def test_tcp_goes_on_by_itself_after_a_cut() -> None:
    with (
        contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server,
        PacketLink("127.0.0.1", server.getsockname()[1], LinkSpec(None, 0.01)) as link,
        link.near.call(
            lambda: socket.create_connection((link.host, link.port), timeout=ANSWER_S)
        ) as client,
    ):
        server.settimeout(ANSWER_S)
        end, _ = server.accept()
        with end:
            end.settimeout(ANSWER_S)
            link.cut()
            client.sendall(b"held")
            wait_until(lambda: link.up.cut_off > 0, "it was sent, and lost")
            link.heal()
            assert end.recv(100) == b"held"


def test_a_session_survives_loss_and_every_message_with_qos_1_comes_back(
    mosquitto: Upstream,
) -> None:
    """5% loss in each direction; the kernel sends again what is lost."""
    count = 60
    came: list[bytes] = []
    changed = threading.Condition()

    def take(_topic: str, payload: bytes, _properties: Properties) -> None:
        with changed:
            came.append(payload)
            changed.notify_all()

    def wait_for(number: int) -> bool:
        with changed:
            return changed.wait_for(lambda: len(came) >= number, ANSWER_S)

    spec = LinkSpec.parse("125KB/s,10ms,5%")
    with PacketLink(mosquitto.host, mosquitto.port, spec, seed=4) as link:
        session = Session(Broker(host=link.host, port=link.port), "porch")
        session.subscribe("echo", 1, take)
        # A thread is in the namespace of the one that starts it.
        link.near.call(session.start)
        try:
            session.wait_connected(ANSWER_S)
            for number in range(count):
                assert session.publish("echo", b"%d" % number * 50, qos=1)
                assert wait_for(number + 1), f"message {number} has not come back"
            assert came == [b"%d" % number * 50 for number in range(count)]
            assert link.up.lost > 0
            assert link.down.lost > 0
            assert link.connections == 1, "it was never lost"
        finally:
            session.close()


def left_behind() -> list[str]:
    """Open namespaces and devices of this process, and threads of a link."""
    found = [thread.name for thread in threading.enumerate()]
    left = [name for name in found if name.startswith(("packets", "space"))]
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            left.append(str(path.readlink()))
    return [name for name in left if name.startswith(("packets", "space", "net:", "/dev/net"))]


def test_a_closed_link_leaves_nothing() -> None:
    link = packet_link()
    with link, ends(link) as (near, far):
        near.send(b"x")
        far.recv(1)
        assert {"packets", "/dev/net/tun"} <= set(left_behind()), "it would be seen"
    assert left_behind() == []
    with pytest.raises(RuntimeError, match="not open"):
        link.wrap(["true"])


def test_a_link_that_cannot_start_leaves_nothing_either() -> None:
    with pytest.raises(OverflowError), PacketLink("127.0.0.1", 70_000):
        pass
    assert left_behind() == []


_USER = """
import sys, time
from pathlib import Path
from aiflow.bench.link import LinkSpec
from aiflow.bench.packets import PacketLink
from aiflow.bench.processes import Child
with PacketLink("127.0.0.1", 1, LinkSpec(None, 0.0)) as link:
    tied = Child("tied", link.wrap(["sleep", "600"]), Path(sys.argv[1]) / "log")
    tied.start()
    inside = Path("/proc/thread-self/ns/net").readlink
    print(tied.pid, link.near.call(inside), link.far.call(inside), flush=True)
    time.sleep(600)
"""


def test_a_user_that_is_killed_leaves_no_process_namespace_or_device(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _USER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as user:
        assert user.stdout is not None
        try:
            pid, near, far = user.stdout.readline().split()
            entered = Path(f"/proc/{pid}/ns/net")
            wait_until(lambda: str(entered.readlink()) == near, "its child is inside")
            assert {near, far} <= networks()
        finally:
            user.kill()
    wait_until(lambda: not {near, far} & networks(), "nobody is in its namespaces")
    assert DEVICE not in devices()


def test_a_child_that_outlives_the_link_has_no_network_any_more() -> None:
    with (
        packet_link() as link,
        subprocess.Popen(link.wrap(["sleep", "600"])) as child,
    ):
        try:
            table = Path(f"/proc/{child.pid}/net/dev")
            near = link.near.call(lambda: str(Path("/proc/thread-self/ns/net").readlink()))
            entered = Path(f"/proc/{child.pid}/ns/net")
            wait_until(lambda: str(entered.readlink()) == near, "it is inside")
            assert DEVICE in table.read_text()
            link.close()
            wait_until(lambda: DEVICE not in table.read_text(), "the device is gone")
        finally:
            child.kill()


def test_addresses_are_of_the_block_for_measurements() -> None:
    assert (NEAR, FAR) == ("198.18.0.1", "198.18.0.2")
    assert on_air_bytes(40) == 68
    assert on_air_bytes(4_000) == 4_000 + 3 * 28
