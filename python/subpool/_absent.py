"""What stands for the executors where the extension module cannot load: in other interpreters.

A module that defines a task often makes an executor as well, or annotates with `Future`. Workers
import it for the task, so the names must be there; what they stand for is the main interpreter's.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own would be an import (_bootstrap.py)
if TYPE_CHECKING:
    from typing import Any, NoReturn

_GenericAlias = type(list[int])
CLASSES = frozenset(
    {
        *("Event", "Future", "InterpreterPoolExecutor", "InterpreterThreadPoolExecutor"),
        *("Lock", "PoolStats", "Queue"),
    }
)
FUNCTIONS = frozenset({"configure", "default_pool"})


def stand_in(name: str) -> object:
    """Give a class or a function that can be named and subclassed, and says why it cannot be used.

    It belongs to the module ``subpool``, so a pickle of it means the real one in main.
    """
    if name in FUNCTIONS:

        def absent(*_args: object, **_kwargs: object) -> NoReturn:
            _refuse(name)

        absent.__name__ = absent.__qualname__ = name
        absent.__module__ = "subpool"
        return absent

    def new(cls: type, *_args: object, **_kwargs: object) -> Any:
        _refuse(cls.__name__)

    return type(
        name,
        (),
        {"__module__": "subpool", "__new__": new, "__class_getitem__": classmethod(_GenericAlias)},
    )


def _refuse(name: str) -> NoReturn:
    raise RuntimeError(
        f"{name} works in the main interpreter only, and this is another one. In a task, call the "
        f"function itself; let the main interpreter submit further tasks"
    )
