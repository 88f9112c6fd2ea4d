"""Objects that misbehave wherever the transfer touches them. Workers import this too."""

# ruff: noqa: N818 - named for what they do

import dataclasses
import sys

from subpool import worker


class Boom(Exception):
    """What the hostile methods raise."""


class BoomBase(BaseException):
    """The same, past `except Exception`."""


def boom(*_, **__):
    raise Boom("hostile")


def boom_base(*_, **__):
    raise BoomBase("hostile")


def boom_in_worker():
    if worker() is not None:
        raise Boom("hostile in the worker")
    return "main"


def boom_in_main():
    if worker() is None:
        raise Boom("hostile in main")
    return "worker"


class ReduceRaises:
    def __reduce__(self):
        raise Boom("hostile __reduce__")


class ReduceRaisesBase:
    def __reduce__(self):
        raise BoomBase("hostile __reduce__")


class ReduceGivesNonsense:
    def __reduce__(self):
        return 3


class ReduceWithoutEnd:
    def __reduce__(self):
        return ReduceWithoutEnd, (ReduceWithoutEnd(),)


class GetstateRaises:
    def __getstate__(self):
        raise Boom("hostile __getstate__")


class GetattrRaises:
    def __getattr__(self, name):
        raise Boom("hostile __getattr__")


class GetattributeRaises:
    def __getattribute__(self, name):
        raise Boom("hostile __getattribute__")


class LoadRaises:
    """Pickles well; whoever unpickles it gets an error."""

    def __reduce__(self):
        return boom, ()


class LoadRaisesBase:
    def __reduce__(self):
        return boom_base, ()


class LoadExits:
    def __reduce__(self):
        return sys.exit, (3,)


class LoadRaisesInWorker:
    def __reduce__(self):
        return boom_in_worker, ()


class LoadRaisesInMain:
    def __reduce__(self):
        return boom_in_main, ()


class SetstateRaises:
    def __init__(self):
        self.attribute = 1

    def __setstate__(self, state):
        raise Boom("hostile __setstate__")


class ReprRaises:
    """Refuses to be pickled, and to be shown."""

    def __repr__(self):
        raise Boom("hostile __repr__")

    __str__ = __repr__

    def __reduce__(self):
        raise TypeError("not this one")


class HashRaises:
    def __hash__(self):
        raise Boom("hostile __hash__")

    def __eq__(self, other):
        raise Boom("hostile __eq__")

    def __bool__(self):
        raise Boom("hostile __bool__")

    def __len__(self):
        raise Boom("hostile __len__")


class ClassLies:
    @property
    def __class__(self):
        raise Boom("hostile __class__")


class ReduceRaisesWithoutText:
    """Refuses to be pickled, with an error that cannot be shown."""

    def __reduce__(self):
        raise StrRaises


class LoadRaisesWithoutText:
    def __reduce__(self):
        return raise_without_text, ()


def raise_without_text():
    raise StrRaises


class StrRaises(Exception):
    def __str__(self):
        raise Boom("hostile __str__")

    __repr__ = __str__


class InitWants(Exception):
    """Unpickling calls __init__ with too little."""

    def __init__(self, *, code):
        super().__init__("wants a code")
        self.code = code


class InitRaises(Exception):
    def __init__(self, text=""):
        if text and worker() is None:
            raise Boom("hostile __init__")
        super().__init__(text)


class ErrorReduceRaises(Exception):
    def __reduce__(self):
        raise Boom("hostile __reduce__ of an exception")


class ErrorReduceRaisesBase(Exception):
    def __reduce__(self):
        raise BoomBase("hostile __reduce__ of an exception")


class ErrorStrRaisesBase(Exception):
    def __str__(self):
        raise BoomBase("hostile __str__")


class ErrorLoadExits(Exception):
    def __reduce__(self):
        return sys.exit, (3,)


class ErrorReduceGivesALiar(Exception):
    def __reduce__(self):
        return ClassLies, ()


class ErrorGetattributeRaises(Exception):
    def __getattribute__(self, name):
        raise Boom("hostile __getattribute__")

    def __str__(self):
        return "t"


class ErrorClassLies(Exception):
    @property
    def __class__(self):
        raise Boom("hostile __class__")


class ErrorArgumentsAreHostile(Exception):
    def __init__(self):
        super().__init__(ReduceRaisesBase(), ReprRaises(), LoadExits(), ClassLies(), HashRaises())


class MakesExceptions:
    """Whatever is sent for it holds a new exception with a new one of these."""

    def __reduce__(self):
        return ValueError, (ValueError(MakesExceptions()),)


class ErrorArgumentsGrow(Exception):
    def __init__(self):
        super().__init__(MakesExceptions())


class ErrorReduceGivesNoException(Exception):
    def __reduce__(self):
        return int, ("5",)


class ErrorReduceGivesAnObject(Exception):
    def __reduce__(self):
        return HashRaises, ()


class ErrorReduceRaisesWithoutText(Exception):
    def __reduce__(self):
        raise StrRaises


class ErrorLoadRaisesWithoutText(Exception):
    def __reduce__(self):
        return raise_without_text, ()


@dataclasses.dataclass(frozen=True)
class ErrorIsFrozen(Exception):
    """Harmless, and common: but nothing can be set on it, __traceback__ included."""

    code: int

    def __reduce__(self):
        return ErrorIsFrozen, (self.code,)


class ErrorStrAndReduceRaise(Exception):
    def __str__(self):
        raise Boom("hostile __str__")

    def __reduce__(self):
        raise Boom("hostile __reduce__")


class ErrorCauseIsCyclic(Exception):
    def __init__(self, *args):
        super().__init__(*args)
        self.__context__ = ValueError("its context")
        self.__context__.__context__ = self


class ErrorEqRaises(Exception):
    def __eq__(self, other):
        raise Boom("hostile __eq__")

    def __hash__(self):
        raise Boom("hostile __hash__")

    def __bool__(self):
        raise Boom("hostile __bool__")


class ErrorSetattrRaises(Exception):
    def __setattr__(self, name, value):
        raise Boom("hostile __setattr__")


class ErrorDictIsHostile(Exception):
    def __init__(self, *args):
        super().__init__(*args)
        self.held = ReduceRaises()


def make(name, *args):
    """Make a hostile object in the worker and return it."""
    return globals()[name](*args)


def throw(name, *args, **kwargs):
    """Raise a hostile exception in the worker."""
    raise globals()[name](*args, **kwargs)


def take(*args, **kwargs):
    return "taken"


def look(value):
    return type(value).__name__


class CallRaisesName:
    """A callable whose name is hostile."""

    def __getattribute__(self, name):
        if name in ("__qualname__", "__module__"):
            raise Boom(f"hostile {name}")
        return super().__getattribute__(name)

    def __call__(self):
        return "called"


class CallWithStrangeName:
    def __init__(self):
        self.__qualname__, self.__module__ = 5, ["tasks"]

    def __call__(self):
        return "called"
