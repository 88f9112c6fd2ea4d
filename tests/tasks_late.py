"""Tasks of a module that can be imported, which import numpy when they run."""

import os
from importlib import import_module


def late(numbers):
    import numpy

    return int(numpy.sum(numbers))


def later(numbers):
    return late(numbers)


def unless_there_is_none():
    try:
        import numpy  # noqa: F401
    except ImportError as error:
        return type(error).__name__
    return "loaded"


def by_name(name, writer):
    """Import what cannot be foreseen."""
    os.write(writer, b"x")
    return int(import_module(name).arange(4).sum())


def late_if(really):
    return late([1]) if really else "no"


def modules_seen_by_an_import():
    """Import it, and tell which modules of it were run for that."""
    seen = []
    try:
        import numpy  # noqa: F401
    except ImportError as error:
        frame = error.__traceback__
        while frame is not None:
            name = frame.tb_frame.f_globals.get("__name__", "")
            if name.partition(".")[0] == "numpy":
                seen.append(name)
            frame = frame.tb_next
    return seen
