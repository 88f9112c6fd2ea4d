"""The life of a process of ours: it runs one call after the other, until main has no more."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from contextvars import Context
from io import BytesIO
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from subpool._bootstrap import TaskInterrupted, encode_error, encode_result, format_error

if TYPE_CHECKING:
    from types import FrameType

# Pools whose initializer has run here.
_initialized: set[int] = set()


# Bytes of a call's number.
NUMBER = 8


class _Window:
    """Which call runs here, and whether it may be interrupted.

    An interrupt comes with its call's number, through the control pipe, whose thread signals the
    main thread. One that comes before its call is kept; one that comes after it is ignored.
    """

    number = 0
    is_open = False
    asked = 0
    sent = False

    @classmethod
    def open(cls) -> None:
        cls.is_open = True
        if cls.asked == cls.number:  # who asked before this has not signalled
            cls.sent = True
            raise TaskInterrupted

    @classmethod
    def signalled(cls, _signal: int, _frame: FrameType | None) -> None:
        if cls.is_open and cls.asked == cls.number:
            cls.sent = True
            raise TaskInterrupted

    @classmethod
    def watch(cls, fd: int) -> None:
        """Pass interrupts on; end the process when main is gone, since a call may never end."""
        while content := os.read(fd, NUMBER):
            cls.asked = int.from_bytes(content, "little")
            if cls.is_open:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        os._exit(1)


def serve(fd: int, control: int) -> None:
    signal.signal(signal.SIGINT, _Window.signalled)
    threading.Thread(
        target=_Window.watch, args=(control,), name="subpool-watch", daemon=True
    ).start()
    with Connection(fd) as connection:
        while True:
            try:
                message = connection.recv_bytes()
            except EOFError:
                return
            _Window.number += 1
            reply = pickle.dumps(_answer(*pickle.loads(message)))
            for stream in (sys.stdout, sys.stderr):
                if stream is not None and not stream.closed:
                    stream.flush()
            connection.send_bytes(reply)


def _answer(
    label: str, path: list[str], pool: int, initializer: bytes | None, call: bytes
) -> tuple[Any, ...]:
    sys.path[:] = path + [entry for entry in sys.path if entry not in path]
    try:
        if pool not in _initialized and initializer is not None:
            fn, args, kwargs, _ = pickle.loads(initializer)
            fn(*args, **kwargs)
        _initialized.add(pool)
        fn, args, kwargs, variables = pickle.loads(call)
    except BaseException as error:  # noqa: BLE001 - a user's code may raise anything
        return encode_error(label, error, None, None)
    context = Context()
    for variable, value in variables:
        context.run(variable.set, value)
    _Window.sent = False
    try:
        try:
            _Window.open()
            value = context.run(fn, *args, **kwargs)
        finally:
            _Window.is_open = False
    except TaskInterrupted as error:
        _Window.is_open = False
        if _Window.sent:
            return "interrupted", format_error(error)
        return encode_error(label, error, None, None)
    except BaseException as error:  # noqa: BLE001 - it is the task's
        return encode_error(label, error, None, None)
    try:
        return "value", pickle.dumps(value, 5)
    except Exception as error:  # noqa: BLE001 - a user's __reduce__ may raise anything
        sink = _Sink()
        told = encode_result(label, error, value, sink)
        return ("value", sink.getvalue()) if told == ("value",) else told


class _Sink(BytesIO):
    """What `encode_result` writes to: here nothing travels beside the pickle."""

    buffer = None

    @staticmethod
    def reduce(_value: object) -> Any:
        return NotImplemented

    def rehearsal(self) -> _Sink:
        return _Sink()
