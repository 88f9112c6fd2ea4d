"""Objects that pickle knows by their name alone, where that name is one of a by-value module."""

from __future__ import annotations

import functools
import sys
import threading
import typing
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from cloudpickle import cloudpickle as _internals

from subpool import _annotations
from subpool._bootstrap import worker
from subpool._registry import covers, module_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FunctionType

CachedFunction = type(functools.cache(len))

# Caches of functions and the like, which a worker keeps from call to call.
_MOST_KEPT = 64
_kept: dict[str, Any] = {}


def reduce_cached(cached: Any) -> Any:
    """Tell how to pickle what `functools.lru_cache` has made: without what it remembers."""
    if not covers(cached.__module__) and _is_found_by_name(cached):
        return NotImplemented
    known_as = _internals._get_or_create_tracker_id(cached)  # noqa: SLF001 - no public name
    attributes = {k: v for k, v in cached.__dict__.items() if k != "cache_parameters"}
    made_of = (known_as, cached.__wrapped__, cached.cache_parameters())
    return make_cached, made_of, attributes, None, None, set_attributes


def _is_found_by_name(obj: Any) -> bool:
    found: Any = sys.modules.get(obj.__module__)
    for name in obj.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is obj


def make_cached(known_as: str, function: FunctionType, parameters: dict[str, Any]) -> Any:
    """Make a function that remembers its results, or give the one that came before.

    A worker keeps it, with what it remembers, as long as main sends the same one.
    """
    return _counterpart(known_as, lambda: functools.lru_cache(**parameters)(function))


def reduce_thread_local(local: threading.local) -> tuple[Any, ...]:
    """Tell how to pickle one: as nothing that any other thread has set in it."""
    known_as = _internals._get_or_create_tracker_id(local)  # noqa: SLF001 - as above
    return make_thread_local, (known_as,)


def make_thread_local(known_as: str) -> threading.local:
    """Make one for this interpreter, which a worker keeps, or give the one that was made."""
    made: threading.local = _counterpart(known_as, threading.local)
    return made


def _counterpart(known_as: str, make: Callable[[], Any]) -> Any:
    known = _internals._DYNAMIC_CLASS_TRACKER_BY_ID.get(known_as)  # noqa: SLF001 - as above
    if known is None:
        known = _internals._lookup_class_or_track(known_as, make())  # noqa: SLF001 - as above
    if worker() is not None:
        _kept.pop(known_as, None)
        _kept[known_as] = known
        if len(_kept) > _MOST_KEPT:
            del _kept[next(iter(_kept))]
    return known


def set_attributes(obj: Any, attributes: dict[str, Any]) -> None:
    """Set attributes of an object that may lead to itself."""
    obj.__dict__.update(attributes)


def reduce_typing_name(obj: Any) -> Any:
    """Tell how to pickle a ``NewType``, a ``type`` alias, a ``ParamSpec`` and the like."""
    if not covers(obj.__module__):
        return NotImplemented
    name = obj.__name__
    made_of: tuple[Any, ...]
    match obj:
        case typing.NewType():
            made_of = name, _annotations.portable(obj.__supertype__)
        case typing.TypeAliasType():
            made_of = name, _annotations.value_of(obj), obj.__type_params__
        case _:
            made_of = (name,)
    return make_typing_name, (obj.__module__, type(obj), *made_of)


def make_typing_name(module: str, kind: type, name: str, *made_of: Any) -> Any:
    """Give main's own in main, else one like it."""
    if worker() is None:
        found = module_of(module).__dict__.get(name)
        if type(found) is kind:
            return found
    made: Any
    if kind is typing.TypeAliasType:
        # mypy thinks that this declares an alias, which it wants to know by name.
        made = kind(name, made_of[0], type_params=made_of[1])
    else:
        made = kind(name, *made_of)
        made.__module__ = module
    return made


def reduce_type_variable(variable: typing.TypeVar) -> Any:
    """Tell how to pickle a ``TypeVar``."""
    if not covers(variable.__module__):
        return NotImplemented
    decomposed = _internals._decompose_typevar(variable)  # noqa: SLF001 - as above
    return _internals._make_typevar, decomposed  # noqa: SLF001 - as above


def reduce_weak_dict(weak: Any) -> Any:
    """Tell how to pickle a dict of weak references: with what it has at this moment."""
    return type(weak), (dict(weak),)


def reduce_partial_method(method: functools.partialmethod[Any]) -> Any:
    """Tell how to pickle one: its own way forgets what it is made of."""
    return make_partial_method, (method.func, method.args, method.keywords)


def make_partial_method(func: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Make it again."""
    return functools.partialmethod(func, *args, **keywords)


REDUCERS: dict[type, Callable[[Any], Any]] = {
    threading.local: reduce_thread_local,
    CachedFunction: reduce_cached,
    functools.partialmethod: reduce_partial_method,
    typing.NewType: reduce_typing_name,
    typing.ParamSpec: reduce_typing_name,
    typing.TypeAliasType: reduce_typing_name,
    typing.TypeVar: reduce_type_variable,
    typing.TypeVarTuple: reduce_typing_name,
    WeakKeyDictionary: reduce_weak_dict,
    WeakValueDictionary: reduce_weak_dict,
}
