"""The tag: which calls go to an interpreter, found under whatever wraps it.

Workers import it with the modules that define tasks, so there it imports nothing else: `typing`
alone would cost each of them milliseconds and half a megabyte.
"""

from __future__ import annotations

import sys

from subpool._bootstrap import worker

TYPE_CHECKING = False  # type checkers take it for true, as they do typing's
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import BuiltinMethodType, MethodType
    from typing import Any, Generic, ParamSpec, TypeVar, overload

    P = ParamSpec("P")
    R = TypeVar("R")
else:
    BuiltinMethodType, MethodType = type(len), type(worker.__get__(worker))
    P = R = None

    class Generic:
        """What is left of it at run time."""

        __class_getitem__ = classmethod(type(list[int]))


if TYPE_CHECKING or worker() is None:  # nothing is routed in a worker
    import functools
    from contextvars import Context

    _placeholder: object = getattr(functools, "Placeholder", None)  # since 3.14

# What `functools.update_wrapper` copies.
_ASSIGNED = (
    *("__module__", "__name__", "__qualname__", "__doc__", "__type_params__"),
    "__annotate__" if sys.version_info >= (3, 14) else "__annotations__",
)


# Not `Tagged[**P, R]`: that statement imports typing when it is run.
class Tagged(Generic[P, R]):
    """A callable that runs in an interpreter. Made by `interpreter`."""

    __wrapped__: Callable[P, R]

    def __init__(self, fn: Callable[P, R]) -> None:
        # What `functools.update_wrapper` does, without functools.
        for name in _ASSIGNED:
            try:
                value = getattr(fn, name)
            except AttributeError:
                continue
            setattr(self, name, value)
        vars(self).update(getattr(fn, "__dict__", {}))
        # Last, over a __wrapped__ of fn's own.
        self.__wrapped__ = fn

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run in an interpreter of the default pool and wait; inside a worker, run right here."""
        if worker() is not None:
            return self.__wrapped__(*args, **kwargs)
        from subpool._default import default_pool  # noqa: PLC0415 - workers have no use for it

        return default_pool().submit(self, *args, **kwargs).result()

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind like a function, so that a tagged function in a class is a method."""
        return self if instance is None else MethodType(self, instance)

    def __reduce__(self) -> str | tuple[Any, ...]:
        # A decorated function is found by its name, where this very tag stands; an inline tag
        # has no name of its own.
        module = getattr(self, "__module__", None)
        qualname = getattr(self, "__qualname__", None)
        if type(module) is str and type(qualname) is str and module != "__main__":
            found: object = sys.modules.get(module)
            for name in qualname.split("."):
                found = getattr(found, name, None)
            if found is self:
                return qualname
        return self._rebuild()

    def _rebuild(self) -> tuple[Any, ...]:
        return Tagged, (self.__wrapped__,)

    def __repr__(self) -> str:
        return f"interpreter({self.__wrapped__!r})"


class Termed(Tagged[P, R]):
    """A tag with terms: a time limit, a fallback. A class of its own: others need not be asked."""

    def __init__(self, fn: Callable[P, R], timeout: float | None, fallback: str | None) -> None:
        super().__init__(fn)
        self._subpool_terms = timeout, fallback

    def _rebuild(self) -> tuple[Any, ...]:
        return Termed, (self.__wrapped__, *self._subpool_terms)

    def __repr__(self) -> str:
        named = zip(("timeout", "fallback"), self._subpool_terms, strict=True)
        terms = "".join(f", {name}={value!r}" for name, value in named if value is not None)
        return f"interpreter({self.__wrapped__!r}{terms})"


if TYPE_CHECKING:

    @overload
    def interpreter[**P, R](fn: Callable[P, R], /) -> Tagged[P, R]: ...
    @overload
    def interpreter[**P, R](
        *, timeout: float | None = None, fallback: str | None = None
    ) -> Callable[[Callable[P, R]], Tagged[P, R]]: ...
    @overload
    def interpreter[**P, R](
        fn: Callable[P, R], /, *, timeout: float | None = None, fallback: str | None = None
    ) -> Tagged[P, R]: ...


def interpreter(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    timeout: float | None = None,
    fallback: str | None = None,
) -> Any:
    """Tag a callable: "run this in an interpreter".

    The tag belongs to the wrapper; `fn` itself stays as it is, and ``tagged.__wrapped__`` runs it
    here and now. An executor recognises the tag also inside ``functools.partial`` and
    ``Context.run``, in any nesting. A tagged callable that is called directly runs in the
    process-wide pool (`default_pool`) and waits with the GIL released; inside a worker it runs
    inline.

    Args:
        fn: Any callable.
        timeout: Seconds that a call may run, not counting its time in the queue; then it is
            interrupted, and its future raises `TaskTimeout`. On a callable that is tagged
            already, it takes the place of that tag's.
        fallback: Where calls go that no interpreter can run, since an extension module refuses to
            load there: ``"thread"`` (of the main interpreter) or ``"process"``. Default: what the
            executor says. It takes the place of an earlier tag's, as `timeout` does.

    Raises:
        TypeError: `fn` is not callable, or `timeout` is not a number.
        ValueError: `timeout` is not greater than 0, or `fallback` is something else.

    Example::

        ex.submit(interpreter(cpu_bound), data)      # inline

        @interpreter                                 # as a decorator
        def cpu_bound(data): ...

        @interpreter(timeout=5)                      # five seconds at most
        def search(text): ...

    The idea of a tag that an executor routes by is aiointerpreters'.

    """
    if timeout is not None and not timeout > 0:
        raise ValueError("timeout must be greater than 0")
    if fallback not in FALLBACKS:
        raise ValueError(f"fallback must be None, 'thread' or 'process', not {fallback!r}")
    if fn is None:
        if timeout is None and fallback is None:
            return interpreter
        return lambda fn: interpreter(fn, timeout=timeout, fallback=fallback)
    if isinstance(fn, Tagged):
        if timeout is None and fallback is None:
            return fn
        before = getattr(fn, "_subpool_terms", (None, None))
        timeout, fallback = timeout or before[0], fallback or before[1]
        fn = fn.__wrapped__
    if not callable(fn):
        raise TypeError(f"interpreter() takes a callable, not {type(fn).__name__}")
    if timeout is None and fallback is None:
        return Tagged(fn)
    return Termed(fn, None if timeout is None else float(timeout), fallback)


FALLBACKS = (None, "thread", "process")

type Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], float | None, str | None]


def route(
    fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any], by_tag: bool = True
) -> Call | None:
    """Find the tag of a call: the call to run in an interpreter, or ``None`` for a thread.

    The call is the function, its arguments, and the terms of the tag: the seconds that it allows,
    and the fallback.

    ``asyncio.to_thread`` and several web frameworks submit ``partial(context.run, fn, ...)``, so
    both layers are peeled until there is a tag or something else. If not `by_tag`, what
    ``Context.run`` would call needs no tag.
    """
    inside = False
    while True:
        kind = type(fn)
        if kind is Tagged:
            return fn.__wrapped__, args, kwargs, None, None
        if kind is Termed:
            return fn.__wrapped__, args, kwargs, *fn._subpool_terms  # noqa: SLF001 - ours
        if kind is functools.partial:
            args = _merged(fn.args, args)
            kwargs = {**fn.keywords, **kwargs}
            fn = fn.func
        elif kind is BuiltinMethodType:
            if type(fn.__self__) is not Context or fn.__name__ != "run" or not args:
                return (fn, args, kwargs, None, None) if inside else None
            fn, *rest = args
            args = tuple(rest)
            inside = not by_tag
        elif kind is MethodType and isinstance(fn.__func__, Tagged):
            fn, args = fn.__func__, (fn.__self__, *args)
        else:
            return (fn, args, kwargs, None, None) if inside else None


def context_of(fn: Any, args: tuple[Any, ...]) -> Context | None:
    """Find the context in which a call would run its function: that of the last ``Context.run``."""
    context = None
    while True:
        kind = type(fn)
        if kind is functools.partial:
            args = _merged(fn.args, args)
            fn = fn.func
        elif kind is BuiltinMethodType and type(fn.__self__) is Context and args:
            if fn.__name__ != "run":
                return context
            context = fn.__self__
            fn, *rest = args
            args = tuple(rest)
        else:
            return context


def _merged(bound: tuple[Any, ...], args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Give a partial's positional arguments followed by the call's, which fill its placeholders."""
    if _placeholder is None or not any(item is _placeholder for item in bound):
        return bound + args
    places = sum(item is _placeholder for item in bound)
    if len(args) < places:
        raise TypeError(
            f"missing positional arguments in 'partial' call; expected at least {places}, "
            f"got {len(args)}"
        )
    rest = iter(args)
    filled = tuple(next(rest) if item is _placeholder else item for item in bound)
    return (*filled, *rest)
