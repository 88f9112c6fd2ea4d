"""What can go wrong with a pool, in words.

The makers below the classes are called by the extension module, so that every text stands here.
"""

from __future__ import annotations

import logging
import sys
import warnings
from concurrent.futures.thread import BrokenThreadPool
from typing import Any

from subpool._bootstrap import TaskInterrupted, text_of
from subpool._exceptions import native_new

if sys.version_info >= (3, 14):
    from concurrent.futures.interpreter import BrokenInterpreterPool as _StandardBroken
    from concurrent.interpreters import NotShareableError as _StandardNotShareable
else:
    _StandardBroken = BrokenThreadPool
    _StandardNotShareable = TypeError

_LOGGER = logging.getLogger("concurrent.futures")


class PoolError(Exception):
    """The base of every error that subpool itself raises."""


class BrokenInterpreterPool(PoolError, _StandardBroken):  # noqa: N818 - the standard name
    """A worker could not start, so the pool is not usable any more.

    Raised by futures that were waiting and by every later ``submit``. The traceback of the failed
    initializer is the ``__cause__``. On Python 3.14 and later it is also a
    `concurrent.futures.interpreter.BrokenInterpreterPool`, on 3.13 a
    `concurrent.futures.thread.BrokenThreadPool`.
    """


class NotTransferableError(PoolError, _StandardNotShareable):
    """Something could not cross between interpreters.

    On Python 3.14 and later it is also a `concurrent.interpreters.NotShareableError`. The cause
    is in ``__cause__``, as an exception or as the text of the worker's traceback.

    Attributes:
        path: What could not cross, for example ``"args[1]['lock']"``, ``"function"`` or
            ``"result"``; empty if that is not known.

    """

    path: str = ""


class IncompatibleModuleError(PoolError, ImportError):
    """A call needs an extension module that refuses to load in an interpreter of its own.

    Also an `ImportError`, which is what the task would have met. The refusal itself is the
    ``__cause__``.

    Attributes:
        name: The extension module that refused, for example ``"numpy._core._multiarray_umath"``.
        path: Its file, or ``None``.
        distribution: The distribution it belongs to, for example ``"numpy"``, or ``None``.
        version: That distribution's version, or ``None``.
        function: The function whose call needed it.

    """

    distribution: str | None = None
    version: str | None = None
    function: str = ""


class RemoteError(PoolError):
    """Stands for an exception of a task that could not be rebuilt here.

    It is also an instance of the nearest base class of the original that could be had here, so
    that ``except ValueError`` catches what was a subclass of `ValueError`. It has the original's
    arguments and attributes. A note says why there is no original.

    Attributes:
        type_name: The original's class, as module and qualified name.
        message: What ``str`` gave for the original.
        remote_traceback: Its traceback in the worker, as text.

    """

    type_name: str = ""
    message: str = ""
    remote_traceback: str = ""

    def __str__(self) -> str:
        if not self.type_name:
            return super().__str__()
        return f"{self.type_name}: {self.message}" if self.message else self.type_name

    def __reduce__(self) -> tuple[Any, ...]:
        base = type(self).__bases__[-1]
        return _remote_error, (base, self.args, vars(self))


class TaskTimeout(PoolError, TimeoutError):  # noqa: N818 - as the standard names it
    """The task ran longer than the ``timeout`` of its tag, and was interrupted.

    Raised by the task's future. The traceback of where it was then is the ``__cause__``.
    """


class _RemoteTraceback(Exception):  # noqa: N818 - no error of its own
    """The text of a traceback in a worker, shown as the cause of an exception that came from it.

    After `concurrent.futures.process._RemoteTraceback`.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text.rstrip()}\n"""'


def remote_class(base: type[BaseException]) -> type[BaseException]:
    """Make the class of stand-ins that are also instances of `base`."""
    if issubclass(RemoteError, base):
        return RemoteError
    # The more derived metaclass of the two is found by `type` itself.
    cls: type[BaseException] = type("RemoteError", (RemoteError, base), {"__module__": __name__})
    return cls


def _remote_error(
    base: type[BaseException], args: tuple[object, ...], attributes: dict[str, object]
) -> BaseException:
    cls = remote_class(base)
    error: BaseException = native_new(cls)(cls, *args)
    error.args = args
    vars(error).update(attributes)
    return error


def remote_traceback(text: str) -> BaseException | None:
    """Give the cause for an exception whose traceback in the worker was `text`."""
    return _RemoteTraceback(text) if text else None


def broken_pool(message: str, traceback: str) -> BrokenInterpreterPool:
    """Make the error for a pool that broke; called anew for each future."""
    error = BrokenInterpreterPool(f"{message}, the pool is not usable any more")
    error.__cause__ = remote_traceback(traceback)
    return error


def log_broken(message: str, traceback: str, retry: float | None = None) -> None:
    """Log that a pool broke, as the standard pools do, or a start that is tried again later."""
    if retry is None:
        _LOGGER.critical("Exception in initializer: %s\n%s", message, traceback)
    else:
        when = f"in {retry:.1f} s" if retry else "when its place is free"
        _LOGGER.warning("%s; the next try comes %s\n%s", message, when, traceback)


def log_harm(worker: str, label: str, how: str) -> None:
    """Log that a worker was replaced, since a task has harmed its interpreter."""
    _LOGGER.warning(
        "%s has harmed the interpreter of %s, and a new one takes its place: %s", label, worker, how
    )


def warn_of_slow_interrupt(label: str, waited: float, left: float) -> None:
    """Warn of a task that has not reacted to its interrupt for `waited` seconds."""
    warnings.warn(
        f"{label} was interrupted {waited:.1f} s ago and has not reacted; a call of a C function "
        f"cannot be interrupted before it returns. In {left:.1f} s a new interpreter takes the "
        f"place of the one that it occupies",
        RuntimeWarning,
        stacklevel=2,
    )


def warn_of_threads(worker: str, threads: list[str], waited: float) -> None:
    """Warn of the threads that keep a worker's interpreter from being closed."""
    warnings.warn(
        f"tasks in {worker} have left threads that did not end within {waited:.1f} s of its "
        f"close: {', '.join(threads)}. Its interpreter is kept until they do, and the end of the "
        f"program waits for it; a call of a C function cannot be interrupted before it returns. "
        f"End such threads in the task, or let them wait with a timeout",
        RuntimeWarning,
        stacklevel=2,
    )


def warn_of_close(worker: str, what: str, waited: float) -> None:
    """Warn of something that keeps a worker's interpreter from being closed."""
    warnings.warn(
        f"the interpreter of {worker} has not been closed within {waited:.1f} s. What runs there "
        f"is {what}. The end of the program waits for it. Let it end sooner, or call it in a task",
        RuntimeWarning,
        stacklevel=2,
    )


def untransferable(message: str, path: str, traceback: str) -> NotTransferableError:
    """Make the error for a worker's report."""
    error = NotTransferableError(message)
    error.path = path
    error.__cause__ = remote_traceback(traceback)
    return error


def incompatible(  # noqa: PLR0917 - called by the extension module
    label: str,
    extension: str,
    path: str | None,
    text: str,
    modules: list[str],
    traceback: str,
    begun: bool = False,
) -> IncompatibleModuleError:
    """Make the error for a call that needs an extension module which refused to load there."""
    from subpool._incompatible import Refusal, distribution, explain  # noqa: PLC0415 - rare

    message = explain(Refusal(extension, path, text, tuple(modules)), label)
    if begun:
        message += (
            " It has a fallback, but its body had begun when it met this, so it was not run "
            "again; the next call goes there."
        )
    error = IncompatibleModuleError(message, name=extension, path=path)
    error.distribution, error.version = distribution(extension, path) or (None, None)
    error.function = label
    error.__cause__ = remote_traceback(traceback)
    return error


def interrupted(
    label: str, timeout: float | None, traceback: str, stuck: float | None
) -> BaseException:
    """Make the error for a task that was interrupted, or did not react for `stuck` seconds."""
    what = "was interrupted"
    if timeout is not None:
        what = f"took longer than its timeout of {timeout} s and {what}"
    if stuck is not None:
        what += f", but still runs {stuck} s later; its interpreter has been replaced by a new one"
    error = (TaskInterrupted if timeout is None else TaskTimeout)(f"{label} {what}")
    error.__cause__ = remote_traceback(traceback)
    return error


def unreadable_result(label: str, cause: BaseException) -> NotTransferableError:
    """Make the error for a result that the worker could pickle and main cannot unpickle."""
    error = NotTransferableError(
        f"cannot receive the result of {label}: unpickling it in the main interpreter "
        f"failed with {type(cause).__name__}: {text_of(cause)}"
    )
    error.path = "result"
    error.__cause__ = cause
    return error
