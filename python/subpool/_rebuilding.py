"""An exception that came from a worker, put together again. The other half is `_exceptions`.

Guarantees: an exception always comes out. Its class is the one that was raised, or, if that cannot
be had here, a `RemoteError` that is also an instance of the nearest base that can. A part that
cannot be had here becomes a `LeftBehind`. All attributes are set past the class's own methods.
"""

from __future__ import annotations

import _pickle
import builtins
import sys
from contextlib import suppress
from io import BytesIO
from types import GetSetDescriptorType, MemberDescriptorType
from typing import TYPE_CHECKING, Any, Self

from subpool._bootstrap import text_of
from subpool._exceptions import BUILTIN, NONE, LeftBehind, full_name, native_new
from subpool._tracebacks import traceback
from subpool.errors import RemoteError, remote_class

if TYPE_CHECKING:
    from collections.abc import Callable

    from subpool._exceptions import Name, Node

_HERE = "subpool._exceptions"
_DEEPEST = 30
"""Exceptions in arguments of exceptions that are complete when a user's class is called."""

_set = {
    name: vars(BaseException)[name].__set__
    for name in ("args", "__cause__", "__context__", "__suppress_context__", "__traceback__")
}
_dict_of = vars(BaseException)["__dict__"].__get__


def rebuild(encoded: bytes) -> BaseException:
    """Put together what `_exceptions.encode` took apart."""
    builder = _Builder(_pickle.loads(encoded))
    try:
        return builder.build()
    finally:
        # It holds its own methods: a cycle, which would keep the exception alive with it.
        builder.named.clear()


class _Builder:
    def __init__(self, nodes: tuple[Node, ...]) -> None:
        self.nodes = nodes
        self.made: list[BaseException | None] = [None] * len(nodes)
        # Those that are being unpickled, or have been, in their class's own way.
        self.begun: set[int] = set()
        self.by_themselves: set[int] = set()
        self.stand_ins: dict[int, BaseException] = {}
        self.filled: set[int] = set()
        self.depth = 0
        # What may be named in a pickle and is no object of its own.
        self.named: dict[str, Callable[..., object]] = {
            "_node": self.complete,
            "_class": _class,
            "_module": _module,
            "_traceback": traceback,
            "_view": _view,
        }

    def build(self) -> BaseException:
        # The last one first: a group's members, which it is made of, have later numbers mostly, and
        # nesting without end must not be recursion without end.
        for number in reversed(range(len(self.nodes))):
            self.fill(number)
        for number in range(len(self.nodes)):
            self.link(number)
        return self.shell(0)

    def complete(self, number: int) -> BaseException:
        """Give an exception that a pickle names, with all that it holds if that is possible."""
        if self.depth < _DEEPEST:
            self.fill(number)
        return self.shell(number)

    def shell(self, number: int) -> BaseException:
        """Give an exception that may have nothing in it yet."""
        made = self.made[number]
        if made is not None:
            return made
        pickled = self.nodes[number][1]
        if pickled is not None and number not in self.begun:
            self.begun.add(number)
            made = self.by_itself(number, pickled)
            # It may hold itself, and was needed before it was there.
            if (needed := self.made[number]) is not None:
                return needed
        if made is None:
            made = self.new(number)
        else:
            self.by_themselves.add(number)
        self.made[number] = made
        return made

    def by_itself(self, number: int, pickled: bytes) -> BaseException | None:
        """Unpickle an exception whose class has a way of its own."""
        try:
            made = self.load(pickled, _known)
        except BaseException:  # noqa: BLE001 - a user's __init__ may raise anything
            return None
        cls, (own, *bases) = type(made), [name for name, _ in self.nodes[number][0]]
        # A base class makes what it is itself, and would drop what the class adds.
        inherited = full_name(cls) in bases and full_name(cls) != own
        return made if issubclass(cls, BaseException) and not inherited else None

    def new(self, number: int) -> BaseException:
        """Make an instance of the class, or of the nearest to it, without calling ``__init__``."""
        names, _, _, _, group, *_ = self.nodes[number]
        arguments: tuple[Any, ...] = ()
        if group is not None:
            arguments = group[0], [self.shell(member) for member in group[1]]
        why: BaseException | None = None
        for name in names:
            try:
                cls = self.find(name)
                if why is not None:
                    cls = remote_class(cls)
                made: BaseException = native_new(cls)(cls, *arguments)
            except BaseException as refused:  # noqa: BLE001 - a user's metaclass may raise anything
                # Without its traceback, whose frames hold all of this.
                _set["__traceback__"](refused, None)
                why = refused if why is None else why
            else:
                break
        else:
            made = RemoteError()
        if why is not None:
            self.stand_ins[number] = why
        return made

    def explain(self, number: int, why: BaseException) -> None:
        """Let a stand-in say what it stands for."""
        from traceback import format_tb  # noqa: PLC0415 - rarely needed

        names, _, _, text, group, _, _, _, frames, _ = self.nodes[number]
        name = names[0][0]
        error = self.shell(number)
        attributes = _dict_of(error)
        lines = "".join(format_tb(traceback(frames)))
        attributes.update(
            type_name=name,
            message=text or "",
            remote_traceback=f"Traceback (most recent call last):\n{lines}{name}: {text}\n",
        )
        notes = attributes.get("__notes__")
        reason = (
            text_of(why) if type(why) is _NamelessError else f"{type(why).__name__}: {text_of(why)}"
        )
        note = f"(a stand-in: {name} cannot be had in the main interpreter: {reason})"
        attributes["__notes__"] = [*notes, note] if type(notes) is list else [note]
        if group is not None and not isinstance(error, BaseExceptionGroup):
            attributes["exceptions"] = tuple([self.shell(member) for member in group[1]])

    def find(self, name: Name) -> type[BaseException]:
        full, pickled = name
        if pickled == BUILTIN:
            return vars(builtins)[full]  # type: ignore[no-any-return]
        if pickled is None:
            raise _NamelessError("it has no name that could be imported")
        cls = self.load(pickled, _known)
        if not isinstance(cls, type) or not issubclass(cls, BaseException):
            raise TypeError(f"its name stands for {cls!r} here")
        return cls

    def fill(self, number: int) -> None:
        """Give an exception its arguments and attributes."""
        if number in self.filled:
            return
        self.filled.add(number)
        error = self.shell(number)
        args, attributes, others = self.state(self.nodes[number][2])
        if number in self.by_themselves:
            # What its class does not pickle is added, notes above all.
            here = _dict_of(error)
            attributes = {k: v for k, v in (attributes or {}).items() if k not in here}
            others = None
        else:
            _set["args"](error, args)
        if attributes:
            _dict_of(error).update(attributes)
        for name, value in (others or {}).items():
            _set_attribute(error, name, value)
        if (why := self.stand_ins.get(number)) is not None:
            self.explain(number, why)

    def state(self, pickled: bytes) -> tuple[Any, ...]:
        self.depth += 1
        try:
            for find in (_known, _known_or_left, _builtin_or_left):
                with suppress(BaseException):  # a user's class may raise anything
                    return self.load(pickled, find)  # type: ignore[no-any-return]
        finally:
            self.depth -= 1
        return (), None, None

    def link(self, number: int) -> None:
        _, _, _, _, _, cause, context, suppressed, frames, near = self.nodes[number]
        error = self.shell(number)
        if cause != NONE:
            _set["__cause__"](error, self.shell(cause))
        if context != NONE:
            _set["__context__"](error, self.shell(context))
        # Last: to set a cause sets it, too.
        _set["__suppress_context__"](error, suppressed)
        if type(error) is AttributeError:
            near = ()  # its `obj` has them
        _set["__traceback__"](error, traceback(frames, near))

    def load(self, pickled: bytes, find: Callable[[Any, str, str], object]) -> Any:
        return _Unpickler(pickled, self.named, find).load()


class _NamelessError(LookupError):
    """A class that the worker cannot name."""


class _Unpickler(_pickle.Unpickler):
    def __init__(
        self,
        pickled: bytes,
        named: dict[str, Callable[..., object]],
        find: Callable[[Any, str, str], object],
    ) -> None:
        super().__init__(BytesIO(pickled))
        self._named, self._find = named, find

    def find_class(self, module: str, name: str) -> Any:
        if module == _HERE:
            return self._named.get(name, LeftBehind)
        return self._find(super().find_class, module, name)


def _known(find: Callable[[str, str], object], module: str, name: str) -> object:
    return find(module, name)


def _known_or_left(find: Callable[[str, str], object], module: str, name: str) -> object:
    try:
        return find(module, name)
    except BaseException as missing:  # noqa: BLE001 - a user's module may raise anything
        return _left(module, name, missing)


def _builtin_or_left(find: Callable[[str, str], object], module: str, name: str) -> object:
    if module in ("builtins", "collections", "datetime", "decimal", "uuid"):
        return _known_or_left(find, module, name)
    return _left(module, name, None)


def _left(module: str, name: str, missing: BaseException | None) -> type[LeftBehind]:
    """Make a class that takes whatever a pickle does to an instance."""
    kind = f"{module}.{name}"
    why = "unpickling it failed"
    if missing is not None:
        why = f"{type(missing).__name__}: {text_of(missing)}"

    class Left(LeftBehind):
        def __new__(cls, *_args: object, **_kwargs: object) -> Self:
            self = super().__new__(cls)
            LeftBehind.__init__(self, f"<{kind} object left in the worker: {why}>", kind, why)
            return self

        def __init__(self, *_args: object, **_kwargs: object) -> None:
            pass

        def __setstate__(self, _state: object) -> None:
            pass

        def __setitem__(self, _key: object, _value: object) -> None:
            pass

        append = extend = add = update = __setstate__

    return Left


def _class(module: str, qualname: str) -> object:
    """Find a class of a module that goes by value: it came from here."""
    found: object = sys.modules[module]
    for name in qualname.split("."):
        found = getattr(found, name)
    return found


def _module(name: str) -> object:
    found = sys.modules.get(name)
    return LeftBehind(f"<module {name!r}>", "module", "") if found is None else found


def _view(data: bytes | bytearray, form: str, shape: tuple[int, ...]) -> memoryview:
    view = memoryview(data)
    try:
        return view.cast(form, shape)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError):  # a format that `cast` does not know
        return view


def _set_attribute(error: BaseException, name: str, value: object) -> None:
    for cls in type(error).__mro__:
        descriptor = vars(cls).get(name)
        if type(descriptor) in (MemberDescriptorType, GetSetDescriptorType):
            with suppress(AttributeError, TypeError, ValueError):  # it is not to be set
                descriptor.__set__(error, value)  # type: ignore[union-attr]
            return
    _dict_of(error)[name] = value
