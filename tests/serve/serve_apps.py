"""Apps that the tests of `subpool serve` serve."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from subpool.integrations.hypercorn import worker_number

left = []  # tasks that nobody awaits

# What a process ignores, its children ignore, too.
SIGNALS = signal.SIGTERM, signal.SIGINT, signal.SIGHUP
IGNORED_AT_IMPORT = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_IGN]


async def hello(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    else:
        await PATHS.get(scope["path"], greet)(scope, send)


async def lifespan(receive, send):
    kind = ""
    while kind != "shutdown":
        kind = (await receive())["type"].partition(".")[2]
        if note := os.environ.get("SERVE_NOTES"):
            with Path(note).open("a") as file:  # noqa: ASYNC230 - a line
                file.write(f"{kind} {worker_number()}\n")
        await send({"type": f"lifespan.{kind}.complete"})


async def late_numpy(_scope, receive, _send):
    await receive()
    import numpy  # noqa: F401


async def reply(send, body):
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def greet(_scope, send):
    await reply(send, b"hello")


async def slow(scope, send):
    print("begun /slow", flush=True)
    await asyncio.sleep(float(scope["query_string"]))
    await reply(send, b"slow")


async def wait_for_file(scope, send):
    print("begun /until", flush=True)
    while not Path(scope["query_string"].decode()).exists():  # noqa: ASYNC110, ASYNC240 - a test's
        await asyncio.sleep(0.01)
    await reply(send, b"until")


async def work_afterwards(scope, send):
    await reply(send, b"later")
    print("begun /after", flush=True)
    try:
        await asyncio.sleep(float(scope["query_string"]))
        print("done /after", flush=True)
    except asyncio.CancelledError:
        print("cancelled /after", flush=True)
        raise


async def spin(_scope, _send):
    print("begun /spin", flush=True)
    while True:
        pass


async def block(_scope, _send):
    print("begun /block", flush=True)
    time.sleep(60)  # noqa: ASYNC251 - it shall


async def compute(_scope, send):
    sum(range(400_000))
    await reply(send, b"computed")


async def tell_worker(scope, send):
    number = scope["extensions"]["subpool"]["worker"]
    assert number == worker_number()
    await reply(send, b"%d" % number)


async def leave(*_):
    sys.exit(7)


async def leave_in_task(*_):
    await asyncio.create_task(leave())


async def leave_in_group(*_):
    async with asyncio.TaskGroup() as group:
        group.create_task(leave())


async def leave_in_background(_scope, send):
    left.append(asyncio.create_task(leave()))
    await reply(send, b"left")


async def tell_ignored(_scope, send):
    now = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_IGN]
    await reply(send, f"{IGNORED_AT_IMPORT} {now}".encode())


async def stop_loop(*_):
    asyncio.get_running_loop().stop()


async def tell_loop(_scope, send):
    await reply(send, type(asyncio.get_running_loop()).__mro__[1].__module__.encode())


async def die(*_):
    os.kill(os.getpid(), 9)


PATHS = {
    "/slow": slow,
    "/until": wait_for_file,
    "/after": work_afterwards,
    "/spin": spin,
    "/block": block,
    "/compute": compute,
    "/worker": tell_worker,
    "/exit": leave,
    "/exit-task": leave_in_task,
    "/exit-group": leave_in_group,
    "/exit-background": leave_in_background,
    "/ignored": tell_ignored,
    "/stop-loop": stop_loop,
    "/die": die,
    "/loop": tell_loop,
}


def look_at_imports():
    """Tell which libraries of a worker have been imported, and that they come if they are used."""
    from subpool.integrations.hypercorn import _worker

    del _worker
    before = {name for name in ("hpack", "hyperframe", "wsproto", "h11") if name in sys.modules}
    import h2.connection
    from hypercorn.logging import dictConfig
    from hypercorn.protocol import h11
    from hypercorn.protocol.ws_stream import WSStream

    names = h2.connection.H2Connection.__name__, WSStream.__name__
    assert isinstance(WSStream, type)
    dictConfig({"version": 1, "incremental": True})
    assert not isinstance(before, h11.WSStream)
    assert isinstance(object.__new__(WSStream), h11.WSStream)
    return before, names


async def echo(scope, receive, send):
    """Answer a websocket's messages until it closes."""
    assert scope["type"] == "websocket", scope["type"]
    while (message := await receive())["type"] != "websocket.disconnect":
        if message["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        elif message["text"] == "exit":
            sys.exit(8)
        else:
            await send({"type": "websocket.send", "text": message["text"]})


def wsgi(environ, start_response):
    if environ["PATH_INFO"] == "/exit":
        sys.exit(9)
    if environ["PATH_INFO"] == "/sleep":
        print("begun /sleep", flush=True)
        time.sleep(60)
    start_response("200 OK", [("content-type", "text/plain")])
    return [b"wsgi %d" % worker_number()]
