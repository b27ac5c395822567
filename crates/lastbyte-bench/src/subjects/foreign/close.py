"""Closes connections with asyncio: close(), wait_closed()."""

import asyncio
import sys


async def close(writer):
    writer.close()
    try:
        await writer.wait_closed()
    except ConnectionError:
        pass


async def main():
    accepted = []
    served = 0
    answering = 0
    arrived = asyncio.Event()

    async def on_connection(reader, writer):
        nonlocal served
        if answering:
            await reader.readexactly(64)
            writer.write(b"r" * 1024)
            await writer.drain()
            await close(writer)
            served += 1
        else:
            accepted.append(writer)
        arrived.set()

    async def until(reached):
        while not reached():
            arrived.clear()
            await arrived.wait()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )
    while line := await commands.readline():
        word, *rest = line.decode().split()
        if word == "accept":
            n = int(rest[0])
            await until(lambda: len(accepted) == n)
        elif word == "respond":
            for writer in accepted:
                writer.write(b"x" * int(rest[0]))
        elif word == "close":
            await asyncio.gather(*map(close, accepted))
            accepted.clear()
        elif word == "serve":
            served, answering = 0, int(rest[0])
            print("ok", flush=True)
            await until(lambda: served == answering)
            answering = 0
        print("ok", flush=True)


asyncio.run(main())
