"""The globals that a function's code names: they travel with it.

cloudpickle finds those that functions name. A class in a function is made when the function runs,
and the code of its body finds globals by other instructions, behind the names of the class.
"""

from __future__ import annotations

import dis
from types import CodeType
from typing import NamedTuple
from weakref import WeakKeyDictionary

# In the body of a class; and in scopes within it that are no functions: generic parameters, the
# value of a `type` statement, annotations.
_IN_BODY, _IN_SCOPE = "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"
_OF_FUNCTIONS = frozenset({"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL"})
# Every body looks these up: the first is there in any namespace, the second is the class's own.
_OF_ANY_BODY = frozenset({"__name__", "__annotations__"})


class Named(NamedTuple):
    """The globals that code names."""

    # In the order of the code, so that equal code gives equal pickles.
    needed: dict[str, None]
    # Named by annotations of classes, which Python computes when somebody asks: since 3.14.
    by_annotations: dict[str, None]


_found: WeakKeyDictionary[CodeType, Named] = WeakKeyDictionary()


def globals_in(code: CodeType) -> Named:
    """Find the globals that a function's code names, that of inner functions and classes too."""
    found = _found.get(code)
    if found is None:
        found = _found[code] = _look_for_globals(code)
    return found


def _look_for_globals(code: CodeType) -> Named:
    found = Named({}, {})
    scope = found.by_annotations if code.co_name == "__annotate__" else found.needed
    set_here: set[str] = set()
    for instruction in dis.get_instructions(code):
        name, operation = instruction.argval, instruction.opname
        if operation in _OF_FUNCTIONS:
            found.needed[name] = None
        elif operation == _IN_SCOPE:
            scope[name] = None
        elif operation == "STORE_NAME":
            set_here.add(name)
        # What the body has set before is not the global: `@size.setter` behind a property `size`.
        elif operation == _IN_BODY and name not in set_here and name not in _OF_ANY_BODY:
            found.needed[name] = None
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner = globals_in(constant)
            found.needed.update(inner.needed)
            found.by_annotations.update(inner.by_annotations)
    return found


def names_in(code: CodeType) -> frozenset[str]:
    """Find the attributes and globals that a function's code names, that of inner functions too."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= names_in(constant)
    return frozenset(names)
