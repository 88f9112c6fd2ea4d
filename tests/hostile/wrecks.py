"""What a task can do to the interpreter that it runs in. Workers import this.

Each act is a function without arguments, called in a worker. What becomes of the act, of the tasks
behind it and of the worker is in the table of test_wrecks.py. A new interpreter has next to no
modules, so each act imports its own.
"""

# ruff: noqa: N818 - named for what it is
import builtins
import sys


class Boom(Exception):
    """What the hostile functions raise."""


def boom(*_, **__):
    raise Boom("hostile")


ACTS = {}


def act(function):
    ACTS[function.__name__] = function
    return function


def perform(name):
    import wrecks_library  # noqa: F401 - it adds its own

    return ACTS[name]()


# sys.modules


@act
def modules_cleared():
    sys.modules.clear()


@act
def modules_replaced_by_an_empty_dict():
    sys.modules = {}


@act
def modules_replaced_by_none():
    sys.modules = None


@act
def modules_deleted():
    del sys.modules


@act
def modules_without_builtins():
    del sys.modules["builtins"]


@act
def modules_without_sys():
    del sys.modules["sys"]


@act
def modules_without_subpool():
    for name in list(sys.modules):
        if name.partition(".")[0] == "subpool":
            del sys.modules[name]


@act
def modules_without_the_worker():
    del sys.modules["_subpool_worker"]


@act
def modules_without_threading():

    del sys.modules["threading"]


@act
def modules_of_none():
    for name in list(sys.modules):
        sys.modules[name] = None


@act
def modules_of_objects():
    for name in list(sys.modules):
        sys.modules[name] = object()


@act
def modules_without_the_standard_library():
    for name in list(sys.modules):
        if name.partition(".")[0] in sys.stdlib_module_names:
            del sys.modules[name]


@act
def modules_cleared_and_raised():
    sys.modules.clear()
    raise ValueError("after that")


# builtins


@act
def builtins_cleared():
    vars(builtins).clear()


@act
def builtins_cleared_and_raised():
    error = ValueError("after that")
    vars(builtins).clear()
    raise error


@act
def builtins_without_import():
    del builtins.__import__


@act
def builtins_without_len():
    del builtins.len


@act
def builtins_without_exceptions():
    for name, value in list(vars(builtins).items()):
        if isinstance(value, type) and issubclass(value, BaseException):
            delattr(builtins, name)


@act
def builtins_len_raises():
    builtins.len = boom


@act
def builtins_import_raises():
    builtins.__import__ = boom


@act
def builtins_isinstance_lies():
    builtins.isinstance = lambda *_: True


@act
def builtins_types_are_none():
    for name, value in list(vars(builtins).items()):
        if isinstance(value, type):
            setattr(builtins, name, None)


@act
def builtins_without_build_class():
    del builtins.__build_class__


@act
def builtins_all_raise():
    for name in list(vars(builtins)):
        setattr(builtins, name, boom)


@act
def builtins_all_raise_and_so_does_the_task():
    builtins_all_raise()
    raise Boom("after that")


# sys


@act
def path_deleted():
    del sys.path


@act
def path_of_nothing():
    sys.path = []


@act
def path_cleared():
    sys.path.clear()
    sys.path_importer_cache.clear()


@act
def path_is_none():
    sys.path = None


@act
def finders_cleared():
    sys.meta_path.clear()


@act
def finders_raise():
    class Finder:
        @staticmethod
        def find_spec(*_):
            raise Boom("hostile finder")

    sys.meta_path.insert(0, Finder)


@act
def path_hooks_cleared():
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()


@act
def sys_attributes_deleted():
    for name in ("argv", "flags", "exc_info", "stdout", "stderr", "path_hooks", "meta_path"):
        delattr(sys, name)


@act
def sys_cleared():
    vars(sys).clear()


@act
def recursion_limit_low():
    sys.setrecursionlimit(20)


@act
def recursion_limit_high():
    sys.setrecursionlimit(10**9)


@act
def recursion_limit_low_and_raised():
    sys.setrecursionlimit(20)
    raise ValueError("after that")


@act
def switch_interval_long():
    sys.setswitchinterval(10**6)


@act
def trace_raises():
    sys.settrace(boom)


@act
def profile_raises():
    sys.setprofile(boom)


@act
def trace_of_all_threads_raises():
    import threading

    threading.settrace(boom)
    threading.setprofile(boom)


@act
def monitoring_raises():
    tool = sys.monitoring.PROFILER_ID
    sys.monitoring.use_tool_id(tool, "hostile")
    for event in (sys.monitoring.events.PY_START, sys.monitoring.events.LINE):
        sys.monitoring.register_callback(tool, event, boom)
    sys.monitoring.set_events(tool, sys.monitoring.events.PY_START | sys.monitoring.events.LINE)


@act
def audit_hook_raises():
    sys.addaudithook(boom)


@act
def audit_hook_raises_at_imports():
    def hook(event, _):
        if event == "import":
            raise Boom("hostile hook")

    sys.addaudithook(hook)


@act
def hooks_raise():
    import threading

    sys.excepthook = sys.unraisablehook = sys.displayhook = sys.breakpointhook = boom
    threading.excepthook = boom


@act
def hooks_raise_and_one_is_called():
    hooks_raise()

    class Finalized:
        __del__ = boom

    Finalized()


@act
def int_digits_few():
    sys.set_int_max_str_digits(640)
    raise ValueError(10**1000)


@act
def asyncgen_hooks_raise():
    sys.set_asyncgen_hooks(boom, boom)


@act
def module_attributes_wiped():
    """Our own modules in the worker, or what is imported of them."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "subpool":
            for attribute in list(vars(module)):
                setattr(module, attribute, None)


def perform_or_add(what):
    return perform(what) if isinstance(what, str) else what + 1
