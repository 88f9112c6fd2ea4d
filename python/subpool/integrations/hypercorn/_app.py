"""The app as a worker's Hypercorn sees it: counted, numbered, and safe from `sys.exit`."""

from __future__ import annotations

import asyncio
import contextlib

from hypercorn.events import Closed, RawData
from hypercorn.utils import LifespanFailureError

from subpool import TaskInterrupted

TYPE_CHECKING = False  # workers import this (routing.py)
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_TURNS = 20  # of the loop, that it may take to send the end of an answer
_EACH = (1 << 31) - 1  # the highest number of a request over HTTP/2


class Counted:
    """A wrapped app, in the form that Hypercorn's own wrappers have.

    Attributes:
        running: The requests and websockets that the app is busy with, and their tasks.
        is_draining: Whether the worker takes no more connections.

    """

    def __init__(
        self,
        app: Callable[..., Any],
        number: int,
        limit: int | None,
        *,
        retire: Callable[[], None],
        closing: Callable[[], None],
    ) -> None:
        """Wrap `app`. `retire` is called once, after `limit` requests; `closing` at its end."""
        self._app = app
        self._number = number
        self._left = limit
        self._retire = retire
        self._closing = closing
        self.running: dict[Any, asyncio.Task[Any] | None] = {}
        self.is_draining = False
        self._http2: set[Any] = set()  # of those over HTTP/2, Hypercorn's `send`
        self._is_told = False  # whether such clients are to send no more
        self._none_over_http2 = asyncio.Event()
        self._none_over_http2.set()

    async def __call__(
        self, scope: Any, receive: Any, send: Any, sync_spawn: Any, call_soon: Any
    ) -> None:
        """Run the app for one scope."""
        scope.setdefault("extensions", {})["subpool"] = {"worker": self._number}
        if scope["type"] == "lifespan":
            await self._live(scope, self._noting(receive), send, sync_spawn, call_soon)
            return
        if self._left is not None:
            self._left -= 1
            if self._left == -1:
                self._retire()
        if scope["http_version"] != "2":
            await self._answer(scope, receive, send, sync_spawn, call_soon)
            return
        self._http2.add(send)
        self._none_over_http2.clear()
        try:
            if self._is_told:
                await _tell_end([send])
            await self._answer(scope, receive, send, sync_spawn, call_soon)
        finally:
            await self._end_http2(send, is_websocket=scope["type"] == "websocket")

    async def _answer(
        self, scope: Any, receive: Any, send: Any, sync_spawn: Any, call_soon: Any
    ) -> None:
        request: object = object()
        if scope["type"] == "websocket":
            request = websocket = _WebSocket(send, self)
            send = websocket.send
        self.running[request] = asyncio.current_task()
        try:
            await self._app(scope, receive, send, sync_spawn, call_soon)
        except (SystemExit, KeyboardInterrupt) as error:
            # It would end the event loop, and with it every other request.
            raise RuntimeError(
                f"{type(error).__name__} in a request ends that request only; the worker goes on"
            ) from error
        except TaskInterrupted as error:
            # By the supervisor: it did not give way to the loop, which would have cancelled it.
            raise RuntimeError("a request was interrupted, since it did not end in time") from error
        except _ClosedError:
            return
        finally:
            del self.running[request]

    async def _end_http2(self, send: Any, *, is_websocket: bool) -> None:
        try:
            if self.is_draining and not is_websocket:
                await _go_away(send)
        finally:
            self._http2.discard(send)
            if not self._http2:
                self._none_over_http2.set()

    async def none_over_http2(self, seconds: float) -> None:
        """Wait until no request is under way on a connection on which others may come.

        When Hypercorn ends, it answers no more of them there; clients cannot know that. Those
        that have had no such moment after `seconds` are told to send no more.
        """
        try:
            await asyncio.wait_for(self._none_over_http2.wait(), seconds)
        except TimeoutError:
            self._is_told = True
            await _tell_end(self._http2)
            await self._none_over_http2.wait()

    async def _live(self, *args: Any) -> None:
        """Run the app's lifespan."""
        try:
            await self._app(*args)
        except Exception as error:
            from subpool._incompatible import refusal  # noqa: PLC0415 - only when it has failed

            if refusal(error) is None:
                raise
            # All else means to Hypercorn that the app has no lifespan. The pool sees the cause.
            raise LifespanFailureError("startup", str(error)) from error

    def _noting(self, receive: Any) -> Any:
        async def receive_and_note() -> Any:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self._closing()
            return message

        return receive_and_note

    def cancel(self) -> None:
        """Cancel what still runs."""
        for task in self.running.values():
            if task is not None:
                task.cancel()

    async def close_websockets(self) -> None:
        """Tell the other side of each websocket that the server restarts, so that it comes back."""
        # Not one after another: who does not read would have all others wait.
        await asyncio.gather(
            *(each.close() for each in self.running if isinstance(each, _WebSocket))
        )


class _ClosedError(OSError):
    """What the specification of ASGI wants from `send` when the other side is gone."""


class _WebSocket:
    """The way out of a websocket, which the server may close under the app."""

    def __init__(self, send: Any, server: Counted) -> None:
        self._send = send
        self._server = server
        self._is_accepted = False
        self._is_closed = False

    async def send(self, message: Any) -> None:
        if self._is_closed:
            raise _ClosedError("the server has closed this websocket, since it restarts or stops")
        await self._send(message)
        if message["type"] == "websocket.accept":
            self._is_accepted = True
            if self._server.is_draining:
                await self.close()
        elif message["type"] == "websocket.close":
            self._is_closed = True

    async def close(self) -> None:
        if self._is_accepted and not self._is_closed:
            self._is_closed = True
            with contextlib.suppress(Exception):  # the other side was faster
                await self._send({"type": "websocket.close", "code": 1012, "reason": "restart"})


def _protocol(send: Any) -> Any:
    """Give what Hypercorn has for the connection."""
    return send.__self__.send.__self__  # HTTPStream.app_send, H2Protocol.stream_send


async def _tell_end(sends: Iterable[Any]) -> None:
    """Tell clients to send no more requests on these connections; all that come are answered.

    That closes nothing, unlike what h2 has for it. Some clients, h2's among them, take it for the
    end, and give up what is under way. So it is not said at once.
    """
    try:
        from hyperframe.frame import GoAwayFrame  # noqa: PLC0415 - with HTTP/2 only

        ways = {_protocol(send).send for send in sends}
    except (AttributeError, ImportError):
        return  # another Hypercorn, as below
    frame = RawData(data=GoAwayFrame(last_stream_id=_EACH).serialize())
    await asyncio.gather(*(way(frame) for way in ways), return_exceptions=True)


async def _go_away(send: Any) -> None:
    """End an HTTP/2 connection if nothing is under way on it, and say what was answered last.

    What the client has sent meanwhile, it may then send elsewhere. Hypercorn does so itself only
    when it has ended; until then a client that is never silent would stay.
    """
    try:
        protocol = _protocol(send)
        for _ in range(_TURNS):
            if protocol.streams:
                return
            if not protocol.stream_buffers:  # the last answer is out
                protocol.connection.close_connection()
                await protocol._flush()  # noqa: SLF001 - there is no other way
                await protocol.send(Closed())
                return
            await asyncio.sleep(0)
    except (AttributeError, ImportError):
        return  # another Hypercorn: the client meets the end of the connection
