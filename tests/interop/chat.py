"""Python's websockets as a client of the chat protocol. Usage: python chat.py HTTP_ADDRESS"""

import asyncio
import json
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

MESSAGES = 500


def message(sender, receiver, content):
    return json.dumps({"type": 1, "sender": sender, "receiver": receiver, "content": content}, ensure_ascii=False)


async def end(socket):
    """Reads to the end; the close code and its reason."""
    try:
        while True:
            await socket.recv()
    except ConnectionClosed as closed:
        return closed.rcvd.code, closed.rcvd.reason


async def status(url, **options):
    """The status that refuses an upgrade."""
    try:
        async with connect(url, **options):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


async def exchange(base):
    async with connect(f"{base}/ws/8001") as ann, connect(f"{base}/ws/8002") as bob:
        for at in range(MESSAGES):
            await ann.send(message(8001, 8002, f"{at} 漢字 😀"))
            await bob.send(message(8002, 8001, f"back {at}"))
        for at in range(MESSAGES):
            assert await bob.recv() == message(8001, 8002, f"{at} 漢字 😀"), at
            assert await ann.recv() == message(8002, 8001, f"back {at}"), at
        # A message in fragments is one message; a ping is answered.
        whole = message(8001, 8001, "to myself")
        await ann.send([whole[:9], whole[9:]])
        assert await ann.recv() == whole
        await (await ann.ping("are you there"))


async def ends(base):
    async with connect(f"{base}/ws/8003") as older, connect(f"{base}/ws/8003") as newer:
        assert await end(older) == (4001, "replaced")
        await newer.send('{"type":3}')
        assert await end(newer) == (1000, "")
    async with connect(f"{base}/ws/8004") as bad:
        await bad.send("[1, 2")
        assert await end(bad) == (1007, "invalid message")
    async with connect(f"{base}/ws/8005") as large:
        await large.send("x" * 70_000)
        assert await end(large) == (1009, "package too large")


async def refusals(base):
    assert await status(f"{base}/ws/1x") == 400
    assert await status(f"{base}/ws/") == 404
    assert await status(f"{base}/ws/8006", origin="https://elsewhere.example") == 403


async def main():
    base = f"ws://{sys.argv[1]}"
    async with asyncio.timeout(60):
        await exchange(base)
        await ends(base)
        await refusals(base)
    print(f"PASS chat.py: {2 * MESSAGES} messages")


asyncio.run(main())
