"""Classes that travel by value, both halves: what is sent of one, and how it is made again.

With cloudpickle's help, and with these differences:

- `__slots__` are slots again, and members of an enum keep the attributes that it gave them;
- the ``__init_subclass__`` of a base and the code of a metaclass that travels itself are not run
  again: what they did to the class is sent with it;
- annotations are sent, also those that Python has not computed yet (`_annotations.py`);
- attributes that main has not changed are left as the worker's own code has made them, and what
  comes back never changes a class of the interpreter that made it.
"""

from __future__ import annotations

import types
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary, WeakSet

from cloudpickle import cloudpickle as _internals

from subpool import _annotations
from subpool._namespaces import changed, may_return

if TYPE_CHECKING:
    from collections.abc import Callable

# Classes that were made here and sent from here.
_own: WeakSet[type] = WeakSet()
# Classes that came from elsewhere, and what was sent last for each attribute.
_received: WeakKeyDictionary[type, dict[str, object]] = WeakKeyDictionary()

# What every member of an enum has.
_OF_A_MEMBER = frozenset({"_value_", "_name_", "__objclass__", "_sort_order_"})


def reduce_class(cls: type) -> tuple[Any, ...]:
    """Tell how to pickle a class by value."""
    if cls not in _received:
        _own.add(cls)
    # cloudpickle has no public names for these.
    make, made_of, (attributes, slots), *_ = _internals._dynamic_class_reduce(cls)  # noqa: SLF001
    members = {}
    if issubclass(cls, Enum):
        members = {member.name: _attributes_of(member) for member in cls}
    elif "__slots__" in cls.__dict__ and NamedTuple not in _internals._get_bases(cls):  # noqa: SLF001
        made_of[3]["__slots__"] = cls.__slots__  # type: ignore[attr-defined]
    attributes = {
        name: value
        for name, value in attributes.items()
        if not (isinstance(value, types.MemberDescriptorType) and value.__objclass__ is cls)
    }
    attributes.pop("__annotations_cache__", None)
    if annotations := _annotations.of_class(cls):
        attributes["__annotations__"] = annotations
    state = attributes, slots, members
    return make_class, (made_of[-2], make, made_of), state, None, None, set_class_state


def _attributes_of(member: Enum) -> dict[str, Any]:
    return {name: value for name, value in member.__dict__.items() if name not in _OF_A_MEMBER}


def make_class(known_as: str, make: Callable[..., type], made_of: tuple[Any, ...]) -> type:
    """Make a class that `set_class_state` completes, or give the one that came before."""
    known: type | None = _internals._DYNAMIC_CLASS_TRACKER_BY_ID.get(known_as)  # noqa: SLF001
    if known is not None:
        return known
    if make is _internals._make_skeleton_class:  # noqa: SLF001 - as above
        metaclass, name, bases, namespace, *_ = made_of
        made = _made_quietly(metaclass, name, bases, namespace)
        if made is not None:
            found: type = _internals._lookup_class_or_track(known_as, made)  # noqa: SLF001
            return found
    return make(*made_of)


class _Quiet:
    """Stands before the bases of a class that is made a second time."""

    def __init_subclass__(cls, **options: object) -> None:
        pass


class _QuietSlots:
    """The same before bases whose instances have no ``__dict__``."""

    __slots__ = ()
    __init_subclass__ = _Quiet.__dict__["__init_subclass__"]


def _made_quietly(
    metaclass: type, name: str, bases: tuple[Any, ...], namespace: dict[str, Any]
) -> type | None:
    """Make a class without the code of its bases and metaclass. ``None``: it has to run."""
    maker = next(base for base in metaclass.__mro__ if base not in _received)
    resolved = types.resolve_bases(bases)
    if resolved is not bases:
        namespace = {**namespace, "__orig_bases__": bases}

    def make(*quiet: type) -> type:
        made: type = maker.__new__(metaclass, name, (*quiet, *resolved), namespace)
        return made

    is_loud = any(
        "__init_subclass__" in base.__dict__ and base.__module__ not in {"builtins", "typing"}
        for parent in resolved
        for base in parent.__mro__
    )
    if not is_loud:
        return None if maker is metaclass else make()
    for quiet in (_Quiet, _QuietSlots):
        try:
            made = make(quiet)
            made.__bases__ = resolved
        except TypeError:  # another layout
            continue
        return made
    return None


def set_class_state(cls: type, state: tuple[dict[str, Any], Any, dict[str, Any]]) -> None:
    """Set the attributes that came with a class."""
    if cls in _own:
        return
    attributes, slots, members = state
    last = _received.get(cls)
    if last is None:
        may_return(cls)
        last = _received[cls] = {}
    else:
        attributes = {k: v for k, v in attributes.items() if not (k in last and _stays(k, v))}
    news = changed(attributes, last)
    for name, value in members.items():
        cls[name].__dict__.update(value)  # type: ignore[index]
    _internals._class_setstate(cls, (news, slots))  # noqa: SLF001 - no public name


def _stays(name: str, value: object) -> bool:
    """Whether it belongs to the making of a class: fields, slots, documentation and so on."""
    return name.startswith("__") and name.endswith("__") and not isinstance(value, _METHODS)


_METHODS = (types.FunctionType, classmethod, staticmethod, property)
