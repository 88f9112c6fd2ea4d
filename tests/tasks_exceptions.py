"""Tasks that raise: what ordinary pickling loses, doubles or refuses. Workers import this too."""

# ruff: noqa: N818 - named for what they do

import dataclasses
import sys
import threading
import types

from subpool import interpreter

LOCK = threading.Lock()


class WantsTwo(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")
        self.first = first


class AddsText(Exception):
    """Pickle calls __init__ with what `args` holds, which has the text already."""

    def __init__(self, code):
        super().__init__(f"error {code}")
        self.code = code


class WantsKeyword(Exception):
    def __init__(self, *, code):
        super().__init__("keyword")
        self.code = code


class HasSlots(Exception):
    __slots__ = ("__private", "unset", "x")

    def __init__(self, x):
        self.x = x
        self.__private = "p"

    def private(self):
        return self.__private


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlots(Exception):
    code: int
    text: str = "default"


class TwoBases(ValueError, OSError):
    pass


class HasNew(Exception):
    def __new__(cls, first, second):
        self = super().__new__(cls, first)
        self.made_with = second
        return self


class OwnGroup(ExceptionGroup):
    def __new__(cls, errors, code):
        self = super().__new__(cls, "own group", errors)
        self.code = code
        return self

    def derive(self, excs):
        return OwnGroup(excs, self.code)


class OwnReduce(Exception):
    def __init__(self, first, second):
        super().__init__(first)
        self.second = second

    def __reduce__(self):
        return OwnReduce, (self.args[0], self.second)


class HasMessage(Exception):
    def __init__(self, message):
        self.message = message


def raise_it(cls, *args, **kwargs):
    raise cls(*args, **kwargs)


def with_notes():
    error = OwnReduce(1, 2)
    error.add_note("a note")
    raise error


def with_lock():
    error = ValueError("text", LOCK, [1, LOCK])
    error.held = {"fine": [1, 2], "lock": LOCK}
    error.generator = (item for item in ())
    raise error


def raise_lock():
    raise WantsTwo(LOCK, LOCK)


def made_here():
    module = types.ModuleType("made_in_a_worker")
    exec("class Point: pass", module.__dict__)  # noqa: S102
    sys.modules["made_in_a_worker"] = module
    return module.Point()


def with_view():
    error = ValueError("holds memory")
    error.view = memoryview(bytearray(b"12345678")).cast("i")
    error.fixed = memoryview(b"abc")
    raise error


def with_traceback():
    try:
        raise LookupError("inner")
    except LookupError as inner:
        error = RuntimeError("holds a traceback")
        error.info = (type(inner), inner, inner.__traceback__)
        error.module = sys
        raise error from None


def with_what_main_lacks():
    error = ValueError(made_here(), "beside")
    error.fine = {1: 2}
    raise error


def changed_afterwards():
    error = SystemExit(1)
    error.code = 2
    raise error


def missing_file():
    with open("/nonexistent/one"):  # noqa: PTH123 - pathlib is heavy for a worker
        pass


def decode():
    b"ab\xff".decode()


def parse():
    compile("a b", "<given>", "exec")


def chain():
    try:
        try:
            {}["key"]
        except KeyError as error:
            raise WantsTwo(1, 2) from error
    except WantsTwo as error:
        raise ValueError("last", error.__cause__)  # noqa: B904 - its context is what is tested


def hidden_context():
    try:
        raise KeyError("hidden")
    except KeyError:
        raise ValueError("shown") from None


def cyclic():
    first, second = ValueError("first"), WantsTwo("second", 2)
    first.__cause__, second.__context__, second.other = second, first, first
    raise first


def group():
    def fails(error):
        try:
            raise error
        except Exception as caught:
            caught.add_note(f"noted {len(caught.args)}")
            return caught

    inner = ExceptionGroup("inner", [fails(WantsTwo(1, 2)), fails(OSError(2, "two", "file"))])
    raise OwnGroup([fails(ValueError(1)), inner], 9)


def deep_group():
    error = ValueError("innermost")
    for _ in range(400):
        error = ExceptionGroup("level", [error])
    raise error


def base_group():
    raise BaseExceptionGroup("base", [KeyboardInterrupt("k"), ValueError("v")])


def local(base, *args):
    """Raise an exception of a class that has no name to find it by."""

    class Local(base):
        pass

    error = Local(*args)
    error.extra = "kept"
    error.add_note("its own note")
    raise error


def misspell(what):
    alpha_beta = LOCK
    if what == "name":
        return alpha_betta  # noqa: F821
    if what == "attribute":
        return [].apend
    return alpha_beta.relase


def step(number):
    if number:
        return [
            0,
            step(number - 1)
            + 1,
        ]  # fmt: skip
    return 1 / number + sum(range(3))


tagged_step = interpreter(step)


def calls_a_tag():
    return tagged_step(1)


def recursion():
    return recursion()
