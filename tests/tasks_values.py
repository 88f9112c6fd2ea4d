"""Values that cannot be sent back, and where in them the reason is. Workers import this too."""

import collections
import dataclasses
import functools
import threading
import types

LOCK = threading.Lock()


class Slots:
    __slots__ = ("fine", "held", "unset")

    def __init__(self):
        self.fine, self.held = 1, [LOCK]


@dataclasses.dataclass(slots=True)
class DataSlots:
    first: int = 1
    second: object = None


class OwnList(list):
    pass


def own_list():
    made = OwnList([1])
    made.lock = LOCK
    return made


_MAKERS = {
    "slots": Slots,
    "dataclass": lambda: [DataSlots(second={"k": LOCK})],
    "deque": lambda: collections.deque([1, LOCK]),
    "default factory": lambda: collections.defaultdict(lambda: 1),
    "default dict": lambda: collections.defaultdict(list, a=[LOCK]),
    "partials": lambda: functools.partial(max, key=functools.partial(min, k=(1, LOCK))),
    "generator": lambda: {"g": (item for item in ())},
    "list with attribute": own_list,
    "module": lambda: {"m": types},
    "closure": lambda: [lambda: LOCK],
    "mapping": lambda: collections.ChainMap({"a": LOCK}),
}

UNPICKLABLE = {
    "slots": (".held[0]", "_thread.lock"),
    "dataclass": ("[0].second['k']", "_thread.lock"),
    "deque": ("[1]", "_thread.lock"),
    "default factory": (".default_factory", "function"),
    "default dict": ("['a'][0]", "_thread.lock"),
    "partials": (".keywords['key'].keywords['k'][1]", "_thread.lock"),
    "generator": ("['g']", "generator"),
    "list with attribute": (".lock", "_thread.lock"),
    "module": ("['m']", "module"),
    "closure": ("[0]", "function"),
    "mapping": (".maps[0]['a']", "_thread.lock"),
}


def unpicklable(name):
    return _MAKERS[name]()
