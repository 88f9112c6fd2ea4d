"""What the tests of the anyio integration share."""

import os

import anyio

BACKENDS = ["asyncio", "trio"]


async def readable(fd):
    """Wait for a byte of a pipe, and take it."""
    await anyio.wait_readable(fd)
    os.read(fd, 1)


async def started(gate, count=1):
    """Wait until so many of the gate's tasks run. In the loop: trio's threads outlive a test."""
    for _ in range(count):
        await readable(gate._started)
