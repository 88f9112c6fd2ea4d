"""Tasks that workers import, with which functions and classes by value have to do."""


def wrapped_without_a_name(fn):
    def wrapper(self, *args):
        return "wrapped", fn(self, *args)

    return wrapper


class Renamed:
    """An object whose method is called otherwise than its function."""

    @wrapped_without_a_name
    def method(self, value):
        return value


class Registering:
    """A library's class that knows of its subclasses."""

    known = []

    def __init_subclass__(cls):
        cls.known.append(cls.__name__)


class Demanding:
    """A library's class whose subclasses say something."""

    def __init_subclass__(cls, *, need):
        cls.need = need
