from __future__ import annotations

import asyncio

from aiflow.edge.dashboard.hub import MAX_CLIENTS, MAX_QUEUED, Client, Hub


async def taken(client: Client) -> bytes | None:
    return await asyncio.wait_for(client.next(), 5.0)


def test_a_browser_begins_with_everything_and_goes_on() -> None:
    async def scene() -> None:
        hub = Hub()
        client = hub.join()
        assert client is not None
        hub.broadcast(b"before it reads")  # is in everything
        assert await taken(client) == b""
        hub.broadcast(b"one")
        hub.broadcast(b"two")
        assert [await taken(client), await taken(client)] == [b"one", b"two"]

    asyncio.run(scene())


def test_a_slow_browser_gets_everything_anew_and_holds_nobody_up() -> None:
    async def scene() -> None:
        hub = Hub()
        slow, quick = hub.join(), hub.join()
        assert slow is not None
        assert quick is not None
        assert await taken(slow) == await taken(quick) == b""
        for n in range(3 * MAX_QUEUED):
            hub.broadcast(b"%d" % n)
            assert await taken(quick) == b"%d" % n
            assert len(slow._queue) <= MAX_QUEUED
        assert await taken(slow) == b""
        hub.broadcast(b"next")
        assert await taken(slow) == b"next"

    asyncio.run(scene())


def test_browsers_are_bounded_and_all_end() -> None:
    async def scene() -> None:
        hub = Hub()
        clients = [hub.join() for _ in range(MAX_CLIENTS)]
        assert hub.join() is None
        assert clients[0] is not None
        hub.leave(clients[0])
        last = hub.join()
        assert last is not None
        hub.close()
        assert await taken(last) is None

    asyncio.run(scene())
