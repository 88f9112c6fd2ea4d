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

import copyreg
import types
from enum import Enum
from enum import member as as_member
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
    if issubclass(cls, Enum):
        return _reduce_enum(cls)
    # cloudpickle has no public names for these.
    made_of = _internals._class_getnewargs(cls)  # noqa: SLF001
    metaclass, name, bases, namespace, known_as, *_ = made_of
    namespace["__qualname__"] = cls.__qualname__
    if "__slots__" in cls.__dict__ and NamedTuple not in bases:
        namespace["__slots__"] = cls.__slots__  # type: ignore[attr-defined]
    attributes, slots = _internals._class_getstate(cls)  # noqa: SLF001
    attributes = {
        name: value
        for name, value in attributes.items()
        if not (isinstance(value, types.MemberDescriptorType) and value.__objclass__ is cls)
    }
    attributes.pop("__annotations_cache__", None)
    if annotations := _annotations.of_class(cls):
        attributes["__annotations__"] = annotations
    made_of = known_as, metaclass, name, bases, namespace
    return make_class, made_of, (attributes, slots, {}), None, None, set_class_state


def _reduce_enum(cls: type[Enum]) -> tuple[Any, ...]:
    known_as = _internals._get_or_create_tracker_id(cls)  # noqa: SLF001 - no public name
    attributes, slots = _internals._enum_getstate(cls)  # noqa: SLF001 - as above
    for name in cls.__members__:
        attributes.pop(name, None)  # an alias
    attributes.pop("__annotations_cache__", None)
    # With a `__new__` of its own, a member's value need not be what made it.
    new = getattr(cls, "_new_member_", None)
    data = cls._member_type_  # type: ignore[attr-defined]
    members = {
        name: (_data_of(member, data), member.value) for name, member in cls.__members__.items()
    }
    is_plain = not isinstance(new, types.FunctionType) or new.__module__ == "enum"
    made_of = (
        known_as,
        (type(cls), cls.__bases__),
        (cls.__name__, cls.__qualname__, cls.__module__),
        {name: value for name, (_, value) in members.items()} if is_plain else members,
        None if is_plain else data,
    )
    state = attributes, slots, {member.name: _attributes_of(member) for member in cls}
    return make_enum, made_of, state, None, None, set_class_state


def _data_of(member: Any, kind: Any) -> tuple[Any, ...]:
    """Give what makes the member as a str, an int or whatever else its enum's members are."""
    if kind is object:
        return ()
    made_by, arguments, *_ = kind.__reduce_ex__(member, 2)
    is_new: bool = made_by is copyreg.__newobj__  # type: ignore[attr-defined]
    return tuple(arguments[1:] if is_new else arguments)


def _attributes_of(member: Enum) -> dict[str, Any]:
    return {name: value for name, value in member.__dict__.items() if name not in _OF_A_MEMBER}


def make_class(
    known_as: str, metaclass: type, name: str, bases: tuple[Any, ...], namespace: dict[str, Any]
) -> type:
    """Make a class that `set_class_state` completes, or give the one that came before."""
    known: type | None = _internals._DYNAMIC_CLASS_TRACKER_BY_ID.get(known_as)  # noqa: SLF001
    if known is not None:
        return known
    definers = [
        base
        for parent in types.resolve_bases(bases)
        for base in parent.__mro__
        if "__init_subclass__" in base.__dict__ and base is not object
    ]
    made: type | None = None
    if not (_is_by_value(metaclass) or any(map(_is_by_value, definers))):
        # Their libraries' own: they may have to know of their subclasses here, too.
        try:
            made = types.new_class(
                name, bases, {"metaclass": metaclass}, lambda ns: ns.update(namespace)
            )
        except Exception:
            if not definers:
                raise
    if made is None:
        made = _made_quietly(metaclass, name, bases, namespace, definers)
    found: type = _internals._lookup_class_or_track(known_as, made)  # noqa: SLF001 - as above
    return found


def make_enum(
    known_as: str,
    parents: tuple[Any, tuple[type, ...]],
    names: tuple[str, str, str],
    members: dict[str, Any],
    data: type | None,
) -> type:
    """Make an enum with its members, but for their attributes, or give the one that came before."""
    known: type | None = _internals._DYNAMIC_CLASS_TRACKER_BY_ID.get(known_as)  # noqa: SLF001
    if known is not None:
        return known
    metaclass, bases = parents
    name, qualname, module = names
    namespace = metaclass.__prepare__(name, bases)
    # What the real ones did with the members comes with them.
    namespace["__init__"] = lambda *_: None
    if data is not None:
        namespace["__new__"] = _new_member(data)
    for member_name, value in members.items():
        namespace[member_name] = as_member(value)
    made = metaclass.__new__(metaclass, name, bases, namespace)
    del made.__init__
    made.__module__ = module
    made.__qualname__ = qualname
    found: type = _internals._lookup_class_or_track(known_as, made)  # noqa: SLF001 - as above
    return found


def _new_member(data: type) -> Callable[..., Any]:
    def __new__(cls: type, arguments: tuple[Any, ...], value: object) -> Any:  # noqa: N807
        made: Any = object.__new__(cls) if data is object else data.__new__(cls, *arguments)
        made._value_ = value
        return made

    return __new__


class _Quiet:
    """Stands before the bases of a class that is made a second time."""

    def __init_subclass__(cls, **options: object) -> None:
        pass


class _QuietSlots:
    """The same before bases whose instances have no ``__dict__``."""

    __slots__ = ()
    __init_subclass__ = _Quiet.__dict__["__init_subclass__"]


def _made_quietly(
    metaclass: type,
    name: str,
    bases: tuple[Any, ...],
    namespace: dict[str, Any],
    loud: list[type],
) -> type:
    """Make a class without the code of its `loud` bases, and of a metaclass that travels itself."""
    maker = next(base for base in metaclass.__mro__ if not _is_by_value(base))
    resolved = types.resolve_bases(bases)
    if resolved is not bases:
        namespace = {**namespace, "__orig_bases__": bases}
    if loud:
        # One whose instances are laid out as theirs.
        with_dict = any(
            "__dict__" in base.__dict__ for parent in resolved for base in parent.__mro__
        )
        quiet = _Quiet if with_dict else _QuietSlots
        made: type = maker.__new__(metaclass, name, (quiet, *resolved), namespace)
        try:
            made.__bases__ = resolved
        except TypeError:
            pass
        else:
            return made
    return maker.__new__(metaclass, name, resolved, namespace)


def _is_by_value(cls: type) -> bool:
    return cls in _received or cls in _own


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
