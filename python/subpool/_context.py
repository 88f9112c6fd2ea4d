"""Context variables, by module and attribute: each interpreter has its own.

Imported in workers for variables whose modules are not there yet, so it imports next to nothing.
"""

from __future__ import annotations

import sys
from contextvars import Context, ContextVar
from itertools import count

from subpool._bootstrap import worker
from subpool._registry import covers, module_of

TYPE_CHECKING = False  # type checkers take it for true, as they do typing's
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    type Names = list[tuple[str, str]]

_MAIN = "__main__"
_MOST_NAMES = 4

# Found before. A variable is a global of some module, and so lives as long as that.
_found: dict[ContextVar[Any], Names] = {}
# Those of by-value modules that were sent: in main by this number, in a worker by main's.
_numbers: dict[ContextVar[Any], int] = {}
_by_number: dict[int, ContextVar[Any]] = {}
_next_number = count().__next__


def locate(variables: Iterable[ContextVar[Any]]) -> list[tuple[ContextVar[Any], Names]]:
    """Find the names of the variables that a pool shall carry, the best first.

    Raises:
        TypeError: One is no `ContextVar`.
        ValueError: One is in no module.

    """
    if isinstance(variables, ContextVar):
        raise TypeError("context_vars takes a sequence of ContextVars; for one, write (variable,)")
    located = []
    for variable in dict.fromkeys(variables):
        if not isinstance(variable, ContextVar):
            raise TypeError(f"context_vars takes ContextVars, not {type(variable).__name__}")
        names = names_of(variable)
        if not names:
            raise ValueError(
                f"no module has the context variable {variable.name!r} as an attribute. Each "
                "interpreter has its own variable, found by module and name: assign this one to "
                "a global of a module that can be imported there"
            )
        located.append((variable, names))
    return located


def names_of(variable: ContextVar[Any]) -> Names:
    """Give modules and attributes that are the variable; none if there are none.

    A name like the variable's own comes before others, a module that defines it before those that
    import it from there, and ``__main__`` last, since that means another module in each
    interpreter.
    """
    names = _found.get(variable)
    if not names or not _leads_to(variable, *names[0]):
        modules = {
            name: module.__dict__
            for name, module in list(sys.modules.items())
            if name != "__mp_main__" and type(getattr(module, "__dict__", None)) is dict
        }
        own = variable.name
        names = [(name, own) for name, globals_ in modules.items() if globals_.get(own) is variable]
        if not names or names == [(_MAIN, own)]:
            names = [
                (name, attribute)
                for name, globals_ in modules.items()
                for attribute, value in globals_.copy().items()
                if value is variable and type(attribute) is str
            ]
        # One of `__main__` is of use only if no module has it.
        names = [pair for pair in names if pair[0] != _MAIN] or sorted(
            names, key=lambda pair: pair[1] != own
        )
        if len(names) > 1:
            names.sort(key=lambda pair: not _defines(*pair))
        names = names[:_MOST_NAMES]
        if names:
            _found[variable] = names
    return names


def _defines(module: str, attribute: str) -> bool:
    """Whether the module's code makes the attribute itself, as far as one can see."""
    import dis  # noqa: PLC0415 - a worker has no use for it

    try:
        spec = sys.modules[module].__spec__
        code = spec.loader.get_code(spec.name)  # type: ignore[union-attr]
        before = ""
        made = False
        for instruction in dis.get_instructions(code):
            if instruction.opname.startswith("STORE_") and instruction.argval == attribute:
                if before == "IMPORT_FROM":
                    return False
                made = True
            before = instruction.opname
    except Exception:  # noqa: BLE001 - a loader may raise anything, and many modules have none
        return False
    return made


def _leads_to(variable: ContextVar[Any], module: str, attribute: str) -> bool:
    return getattr(sys.modules.get(module), "__dict__", {}).get(attribute) is variable


def import_variable(names: Names) -> ContextVar[Any]:
    """Import a variable by the first of its names that can be imported here."""
    failure: Exception | None = None
    for module, attribute in names:
        try:
            __import__(module)
            found = getattr(sys.modules[module], attribute)
            if isinstance(found, ContextVar):
                return found
            raise TypeError(f"{module}.{attribute} is no ContextVar here")  # noqa: TRY301 - the next may be
        except Exception as error:  # noqa: BLE001 - a module may raise anything
            failure = failure or error
    raise failure or LookupError("a context variable without a name")


def reduce(variable: ContextVar[Any]) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
    """Tell how to pickle a variable by its name; ``None``: it has none."""
    names = names_of(variable)
    if not names:
        return None
    module, attribute = names[0]
    if not covers(module):
        return import_variable, (names,)
    number = _numbers.get(variable)
    if number is None and worker() is None:
        number = _numbers[variable] = _next_number()
        _by_number[number] = variable
    default: tuple[object, ...]
    # In a context with nothing in it, `get` gives the default.
    try:
        default = (Context().run(variable.get),)
    except LookupError:
        default = ()
    return own_variable, (module, attribute, variable.name, number, *default)


def own_variable(
    module: str, attribute: str, name: str, number: int | None, *default: object
) -> ContextVar[Any]:
    """Give this interpreter's own for a variable of a by-value module, made once in each worker."""
    if number is not None and number in _by_number:
        return _by_number[number]
    namespace = module_of(module).__dict__
    found = namespace.get(attribute)
    if number is None and isinstance(found, ContextVar):
        return found
    made: ContextVar[Any] = ContextVar(name, default=default[0]) if default else ContextVar(name)
    if number is not None:
        _numbers[made] = number
        _by_number[number] = made
    # In the place of another one: main has redefined it.
    namespace[attribute] = made
    return made


def without(context: Context, variables: list[ContextVar[Any]]) -> Context:
    """Copy a context, but for some variables, which are not set in the copy."""
    copy = Context()
    for variable, value in context.items():
        if variable not in variables:
            copy.run(variable.set, value)
    return copy
