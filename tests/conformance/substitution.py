"""Load CPython's tests of ``concurrent.futures`` with subpool's classes in them.

Guarantees:

* ``concurrent.futures`` itself is never touched. Only the global names, and the class attributes,
  of the modules below ``test.test_concurrent_futures`` change, and in this process alone: a worker
  that imports one of them to find a task function sees it as CPython wrote it, and needs no more.
* Replacing goes by identity, not by name, so that an alias or a name new in some Python version is
  caught as well. ``guard`` watches for what slips through.
* The modules keep their names in ``sys.modules``, so their functions pickle by reference.
* Every test class found is either published or left out for a stated reason: ``Suite.unknown``
  has the rest and a test demands that it is empty.
"""

import functools
import importlib
import pkgutil
import sys
import types
import unittest
from dataclasses import dataclass, field
from typing import Any, Literal

import subpool

from .scripts import SCRIPT_HELPERS, rewriting

PACKAGE = "test.test_concurrent_futures"

type Kind = Literal["interpreter", "thread", "future"]

# Left out: the process pool is none of ours.
PROCESS_MODULES = frozenset({"test_process_pool", "test_deadlock"})
PROCESS_MIXINS = ("ProcessPoolForkMixin", "ProcessPoolForkserverMixin", "ProcessPoolSpawnMixin")
PROCESS_CLASSES = frozenset({"FailingInitializerResourcesTest"})  # runs two process pool classes


@dataclass
class Suite:
    """The test classes of CPython, by class name, with our classes in them."""

    classes: dict[str, type[unittest.TestCase]] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def test_ids(self, *kinds: Kind) -> list[str]:
        """Return ``Class::test_method`` of each test of these kinds."""
        loader = unittest.TestLoader()
        return [
            f"{name}::{method}"
            for name, cls in self.classes.items()
            if self.kinds[name] in kinds
            for method in loader.getTestCaseNames(cls)
        ]


class _Facade(types.ModuleType):
    """A module seen through: all its attributes, but those replaced."""

    def __init__(self, module: types.ModuleType, replaced: dict[str, object]) -> None:
        super().__init__(module.__name__, module.__doc__)
        self.__dict__.update(replaced)
        self.__wrapped__ = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__wrapped__, name)


class Replacements:
    """Pairs of a standard object and ours, looked up by identity."""

    def __init__(self) -> None:
        futures = importlib.import_module("concurrent.futures")
        script_helper = importlib.import_module("test.support.script_helper")
        pools: dict[str, object] = {
            "ThreadPoolExecutor": subpool.InterpreterThreadPoolExecutor,
            "InterpreterPoolExecutor": subpool.InterpreterPoolExecutor,  # not there before 3.14
            "Future": subpool.Future,
        }
        helpers: dict[str, object] = {
            name: rewriting(getattr(script_helper, name)) for name in SCRIPT_HELPERS
        }
        # BrokenInterpreterPool and NotShareableError stay CPython's: ours are subclasses of them,
        # and that a caller's `except` for the standard ones catches ours is part of the test.
        self._pairs: list[tuple[object, object]] = []
        for module, replaced in ((futures, pools), (script_helper, helpers)):
            # The tests write `futures.ThreadPoolExecutor(...)`, looked up when the test runs.
            facade = _Facade(module, replaced)
            self._pairs.append((module, facade))
            self._pairs += [(getattr(module, k, None), v) for k, v in replaced.items()]
            if module is futures:  # or `concurrent.futures.ThreadPoolExecutor(...)`
                package = importlib.import_module("concurrent")
                self._pairs.append((package, _Facade(package, {"futures": facade})))
        self._pairs = [(old, new) for old, new in self._pairs if old is not None]

    def apply(self, module: types.ModuleType) -> None:
        """Replace the globals of `module` and the attributes of the classes it defines."""
        self._apply_to(module)
        for value in list(vars(module).values()):
            if isinstance(value, type) and value.__module__ == module.__name__:
                self._apply_to(value)  # executor_type = futures.ThreadPoolExecutor

    def _apply_to(self, owner: object) -> None:
        for name, value in list(vars(owner).items()):
            for old, new in self._pairs:
                if value is old:
                    setattr(owner, name, new)


def _load_util(replacements: Replacements) -> types.ModuleType:
    """Load ``util``, which the test modules import from, before any of them."""
    util = importlib.import_module(f"{PACKAGE}.util")
    standard_future = util.Future
    replacements.apply(util)
    for name, value in list(vars(util).items()):
        if isinstance(value, standard_future):  # PENDING_FUTURE and its like, made on import
            state = {k: getattr(value, f"_{k}") for k in ("state", "exception", "result")}
            setattr(util, name, util.create_future(**state))
    return util


def _kind(cls: type, util: types.ModuleType) -> Kind | None:
    # 3.13 has no interpreter pool, so no mixin for it: issubclass(…, ()) is False.
    if issubclass(cls, getattr(util, "InterpreterPoolMixin", ())):
        return "interpreter"
    if issubclass(cls, util.ThreadPoolMixin):
        return "thread"
    if cls.__module__ == f"{PACKAGE}.test_future":
        return "future"
    return None


def _is_process_pool(cls: type, util: types.ModuleType) -> bool:
    mixins = tuple(getattr(util, name) for name in PROCESS_MIXINS)
    return issubclass(cls, mixins) or cls.__name__ in PROCESS_CLASSES


@functools.cache
def load() -> Suite:
    """Import CPython's tests and return their classes with ours substituted.

    Raises ModuleNotFoundError where this Python was installed without its ``test`` package: an
    empty run must not look like a passed one.
    """
    try:
        package = importlib.import_module(PACKAGE)
    except ModuleNotFoundError as exc:
        exc.add_note(
            f"{sys.executable} lacks CPython's test package, which the conformance tests run. "
            "Debian ships it as libpython3.X-testsuite."
        )
        raise
    early = [name for name in sys.modules if name.startswith(f"{PACKAGE}.")]
    if early:  # what they imported from `util` is bound already and would stay the standard's
        raise RuntimeError(f"imported before our classes could be put in: {early}")

    replacements = Replacements()
    util = _load_util(replacements)
    suite = Suite()
    for info in pkgutil.iter_modules(package.__path__):
        if not info.name.startswith("test_") or info.name in PROCESS_MODULES:
            continue
        module = importlib.import_module(f"{PACKAGE}.{info.name}")
        replacements.apply(module)
        for name, cls in list(vars(module).items()):
            if (
                not isinstance(cls, type)
                or not issubclass(cls, unittest.TestCase)
                or cls.__module__ != module.__name__
                or not unittest.TestLoader().getTestCaseNames(cls)
                or _is_process_pool(cls, util)
            ):
                continue
            kind = _kind(cls, util)
            if kind is None or name in suite.classes:
                suite.unknown.append(f"{module.__name__}.{name}")
            else:
                suite.classes[name] = cls
                suite.kinds[name] = kind
    return suite
