"""A client for `bench/serve.py`, in a process of its own: load on one path, as JSON on stdout.

    python bench/serve_load.py PORT PATH CONNECTIONS SECONDS

Each connection asks again as soon as it has its answer, and is opened again when the server says
that it ends, or fails; a failure counts.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time


async def ask_always(port: int, path: str, until: float, took: list[float]) -> int:
    request = f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
    errors = 0
    writer = None
    while (start := time.perf_counter()) < until:
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            await reader.readexactly(length)
            is_good = head.startswith(b"http/1.1 200")
        except (OSError, EOFError, ValueError):
            is_good = False
        if not is_good:
            errors += 1
            if writer is not None:
                writer.close()
                writer = None
            await asyncio.sleep(0.01)
            continue
        took.append(time.perf_counter() - start)
        if b"connection: close" in head:
            writer.close()
            writer = None
    if writer is not None:
        writer.close()
    return errors


async def main() -> None:
    port, path, connections, seconds = sys.argv[1:]
    took: list[float] = []
    begin = time.perf_counter()
    until = begin + float(seconds)
    errors = await asyncio.gather(
        *(ask_always(int(port), path, until, took) for _ in range(int(connections)))
    )
    passed = time.perf_counter() - begin
    took.sort()
    print(
        json.dumps(
            {
                "rate": len(took) / passed,
                "p50": took[len(took) // 2],
                "p99": took[int(len(took) * 0.99)],
                "worst": took[-1],
                "answers": len(took),
                "errors": sum(errors),
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main())
