"""Values that are too deep, too large, or change while they are looked at. Workers import this."""

# ruff: noqa: N818 - named for what they do

import sys
import threading

from subpool import worker

DEEP = 100_000


class Boom(Exception):
    """What the hostile methods raise."""


def nested(depth=DEEP, make=lambda inner: [inner]):
    value = None
    for _ in range(depth):
        value = make(value)
    return value


def nested_dict():
    return nested(make=lambda inner: {1: inner})


def nested_without_a_limit():
    sys.setrecursionlimit(10**9)
    return nested(make=lambda inner: [inner, object])


class Node:
    def __init__(self, following):
        self.following = following


def linked_list():
    return nested(make=Node)


def cyclic():
    value = [1]
    value.append({"itself": value})
    return value


def large_int():
    return 10**50_000


def type_name(value):
    return type(value).__name__


def count(*values):
    return len(values)


# What changes while it is pickled


class Changes:
    """Makes its container another one as it is pickled."""

    def __init__(self, container):
        self.container = container

    def __reduce__(self):
        if isinstance(self.container, list):
            self.container.clear()
        else:
            self.container[len(self.container)] = None
        return int, ()


def list_that_shrinks():
    value = []
    value += [Changes(value), *range(1000)]
    return value


def dict_that_grows():
    value = {}
    value[0] = Changes(value)
    value[1] = 1
    return value


class LongList(list):
    def __len__(self):
        return 1 << 40


class Dict(dict):
    def items(self):
        return [(1, 2, 3)]

    __iter__ = None


class EndlessItems:
    def __reduce__(self):
        def items():
            while True:
                yield 0

        return list, (), None, items()


class EndlessInItself:
    def __reduce__(self):
        while True:
            pass


# What happens as it is loaded


class KeyRaises:
    def __init__(self, where):
        self.where = where

    def __hash__(self):
        if self.here():
            raise Boom("hostile __hash__")
        return 1

    def __eq__(self, other):
        if self.here():
            raise Boom("hostile __eq__")
        return self is other

    def here(self):
        where = getattr(self, "where", None)
        return where is not None and (where == "worker") is (worker() is not None)


def dict_with_such_keys(where):
    return {KeyRaises(where): 1, KeyRaises(where): 2}


def dict_reduced_to_its_keys():
    """Hashed before its keys have their state."""
    return {KeyRaises(None): 1}


class Leaves:
    """Says when it is garbage."""

    def __init__(self, what):
        self.what = what

    def __del__(self):
        if self.what == "raises":
            raise Boom("hostile __del__")
        if self.what == "exits":
            sys.exit(3)
        if self.what == "submits" and worker() is not None:
            import tasks
            from subpool import interpreter

            tasks.finalized = interpreter(tasks.add)(1, 2)


def leave(what):
    return Leaves(what)


def finalized():
    import tasks

    return getattr(tasks, "finalized", None)


# Exceptions


def chain_of_causes(length=20_000):
    error = ValueError(0)
    for number in range(1, length):
        following = ValueError(number)
        following.__cause__ = error
        error = following
    raise error


def cycle_of_causes():
    first, second = ValueError(1), ValueError(2)
    first.__cause__, second.__cause__ = second, first
    raise first


def nested_groups(depth=10_000):
    error = ValueError(0)
    for _ in range(depth):
        error = ExceptionGroup("group", [error])
    raise error


def error_of_itself():
    error = ValueError()
    error.args = (error, [error])
    raise error


def error_of_something_deep():
    raise ValueError(nested(DEEP // 2))


def error_with_notes():
    error = ValueError("noted")
    error.__notes__ = ["note"] * 10_000 + [5, b"no text"]
    raise error


def error_whose_notes_are_none():
    error = ValueError("noted")
    error.__notes__ = 5
    raise error


def error_of_a_large_int():
    raise ValueError(10**50_000)


def error_of_surrogates():
    raise ValueError("\ud800\x00")


def deep_traceback(depth=900):
    if not depth:
        raise ValueError("deep")
    deep_traceback(depth - 1)


class Meta(type):
    """Each way to ask for a class is hostile."""

    def _raise(cls, *_):
        raise Boom("hostile metaclass")

    __hash__ = __eq__ = __instancecheck__ = __subclasscheck__ = __repr__ = __dir__ = _raise

    def __getattribute__(cls, name):
        if name in ("__module__", "__qualname__", "__name__", "__mro__"):
            return super().__getattribute__(name)
        raise Boom("hostile metaclass")


class MetaError(Exception, metaclass=Meta):
    pass


class MetaValue(metaclass=Meta):
    pass


def throw_meta():
    raise MetaError("t")


def give_meta():
    return MetaValue()


class ErrorReprDeep(Exception):
    def __repr__(self):
        return repr([self])

    __str__ = __repr__


def throw_deep_repr():
    raise ErrorReprDeep


def give(name, *args):
    return globals()[name](*args)


def view_that_was_released():
    view = memoryview(bytearray(10))
    view.release()
    return view


def view_of_what_changes():
    """A thread writes to it as it is copied."""
    memory = bytearray(1 << 20)
    stop = threading.Event()

    def write():
        while not stop.is_set():
            memory[:] = b"x" * len(memory)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return memoryview(memory)


def a_generator():
    yield


class Exports:
    """A buffer in Python."""

    def __init__(self, how):
        self.how = how

    def __buffer__(self, flags):
        if self.how == "raises":
            raise Boom("hostile __buffer__")
        if self.how == "nonsense":
            return 5
        return memoryview(b"content")

    def __release_buffer__(self, view):
        raise Boom("hostile __release_buffer__")


# What main's tests have in main


def blocks_at_load():
    return BlocksAtLoad()


class BlocksAtLoad:
    def __reduce__(self):
        return block_in_main, ()


entered, go_on = threading.Event(), threading.Event()


def block_in_main():
    entered.set()
    go_on.wait()


class Submits:
    """Calls something when it is hashed, and when it is compared."""

    call = None

    def __hash__(self):
        return Submits.call() if Submits.call else 1

    def __eq__(self, other):
        if Submits.call:
            Submits.call()
        return self is other


def keys_that_submit():
    return {Submits(): 1, Submits(): 2}


RAN = []


def run_code():
    RAN.append(threading.get_ident())
    return RAN[-1]


def ran():
    return RAN


class RunsCode:
    def __reduce__(self):
        return run_code, ()
