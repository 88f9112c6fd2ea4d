"""Which modules go by value: no worker imports them, their functions and classes travel as code.

Guarantees: what `covers` says and what the native side looks for in a pickle (`set_by_value`) are
the same, but for the moment between the two, in which a call may still go by name.

A module that defines tasks may register another one, and workers import the former, so this
imports nothing; in a worker, registering does nothing.
"""

from __future__ import annotations

import sys

from subpool._bootstrap import worker

TYPE_CHECKING = False  # type checkers take it for true, as they do typing's
if TYPE_CHECKING:
    from types import ModuleType

# The program itself. The second is its name in a process that multiprocessing has spawned.
MAIN = "__main__"
SPAWNED_MAIN = "__mp_main__"

# The value tells whether the user asked for it.
_registered: dict[str, bool] = {}
# Modules that were made here for functions that came by value.
_private: dict[str, ModuleType] = {}


def register_by_value(module: ModuleType) -> None:
    """Send the functions and classes of a module by value from now on.

    No interpreter imports the module then: what a call needs of it, with the globals that its
    functions use, travels as code. That is for a module whose import fails in an interpreter for
    the sake of something that its tasks do not use (the module that makes the ``FastAPI()``
    application, say), or one that changes while the program runs. It holds for the modules of a
    package, too. In each interpreter the functions of one module share their globals, and its
    classes come back as themselves.

    By value costs each call some tens of microseconds, and each interpreter once the import of
    cloudpickle. A function that says ``import`` in its body still imports.

    Args:
        module: The module itself, imported.

    Raises:
        TypeError: `module` is no module.
        ValueError: It is a part of subpool.

    Example::

        import app                              # makes FastAPI(), and defines crunch()

        subpool.register_by_value(app)
        ex.submit(interpreter(app.crunch), data)

    """
    name = _name_of(module, "register_by_value")
    if worker() is not None or name == MAIN:
        return
    if name.partition(".")[0] == "subpool":
        raise ValueError("subpool itself cannot go by value: workers have a copy of their own")
    register(name)
    _registered[name] = True


def unregister_by_value(module: ModuleType) -> None:
    """Undo `register_by_value`: the module's functions and classes go by name again.

    Raises:
        TypeError: `module` is no module.
        ValueError: It is not registered.

    """
    name = _name_of(module, "unregister_by_value")
    if worker() is not None or name == MAIN:
        return
    if _registered.pop(name, None) is None:
        raise ValueError(f"the module {name!r} is not registered to go by value")
    _tell()


def register(name: str, *, automatic: bool = False) -> bool:
    """Have a module go by value, by its name. Gives false if it does already."""
    if covers(name):
        return False
    _registered[name] = not automatic
    _tell()
    return True


def covers(module: object) -> bool:
    """Whether what belongs to the module of this name goes by value."""
    if module in (MAIN, SPAWNED_MAIN):
        return True
    if not _registered or type(module) is not str:
        return False
    return module in _registered or any(module.startswith(f"{name}.") for name in _registered)


def _name_of(module: object, caller: str) -> str:
    # No `ModuleType`: a worker would have to import `types` for it.
    if not isinstance(module, type(sys)):
        raise TypeError(f"{caller}() takes a module, not {type(module).__name__}")
    return module.__name__


def module_of(name: str) -> ModuleType:
    """Give the module whose globals the by-value functions of that module have here.

    In main that is the module itself, if it is still there; in a worker it is one that only they
    see, but for ``__main__``.
    """
    found = sys.modules.get(name) if worker() is None or name == MAIN else _private.get(name)
    if not isinstance(found, type(sys)):
        found = _private.get(name)
        if found is None:
            found = _private.setdefault(name, type(sys)(name))
    return found


def private_module(name: object) -> ModuleType | None:
    """Give the module that `module_of` has made for this name, if it has."""
    return _private.get(name) if type(name) is str else None


def names() -> list[str]:
    """Give the modules that go by value, but for ``__main__``."""
    spawned = [SPAWNED_MAIN] if SPAWNED_MAIN in sys.modules else []
    return [*spawned, *_registered]


def asked_for() -> list[str]:
    """Give those of them that the user has registered."""
    return [name for name, by_user in _registered.items() if by_user]


def is_automatic(module: str) -> bool:
    """Whether this very module goes by value because interpreters cannot import it."""
    return _registered.get(module) is False


def _tell() -> None:
    from subpool._subpool import set_by_value  # noqa: PLC0415 - a worker cannot import it

    set_by_value(names())
