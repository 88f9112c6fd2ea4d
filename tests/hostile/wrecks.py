"""What a task can do to the interpreter that it runs in. Workers import this.

Each act is a function without arguments, called in a worker. What becomes of the act, of the tasks
behind it and of the worker is in the table of test_wrecks.py. A new interpreter has next to no
modules, so each act imports its own.
"""

# ruff: noqa: B003, F401, N818, S606 - that is the point
import atexit
import builtins
import codecs
import gc
import io
import os
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
    import threading

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


# garbage


@act
def gc_disabled():
    gc.disable()


@act
def gc_frozen():
    gc.freeze()


@act
def gc_callbacks_raise():
    gc.callbacks.append(boom)


@act
def gc_keeps_everything():
    gc.set_debug(gc.DEBUG_SAVEALL)


@act
def garbage_raises():
    class Finalized:
        def __init__(self):
            self.cycle = self

        def __del__(self):
            raise Boom("hostile __del__")

    Finalized()


# the library


@act
def codecs_forgotten():
    codecs.unregister(codecs.lookup)
    codecs.register(boom)


@act
def codecs_search_functions_raise():
    codecs.register(boom)
    vars(codecs).clear()


@act
def pickle_wiped():
    import pickle

    vars(pickle).clear()


@act
def pickle_raises():
    import _pickle
    import pickle

    for module in (pickle, _pickle):
        for name in ("dumps", "loads", "dump", "load", "Pickler", "Unpickler"):
            setattr(module, name, boom)


@act
def copyreg_raises():
    import copyreg

    copyreg.dispatch_table.clear()
    copyreg.__reduce_ex__ = copyreg.__newobj__ = copyreg._reconstructor = boom


@act
def traceback_raises():
    import traceback

    for name in vars(traceback).copy():
        if not name.startswith("__"):
            setattr(traceback, name, boom)


@act
def traceback_raises_and_so_does_the_task():
    traceback_raises()
    raise ValueError("after that")


@act
def io_wiped():
    vars(io).clear()


@act
def os_wiped():
    import posix

    vars(os).clear()
    vars(posix).clear()


@act
def warnings_raise():
    import warnings

    warnings.simplefilter("error")
    warnings.showwarning = warnings.warn = boom


@act
def threading_wiped():
    import threading

    vars(threading).clear()


@act
def threading_hooks_raise():
    import threading

    threading._shutdown = boom
    threading._register_atexit(boom)


@act
def at_exit_raises():
    atexit.register(boom)
    atexit.register(sys.exit, 3)


@act
def at_exit_registers_itself():
    def again():
        atexit.register(again)

    atexit.register(again)


@act
def at_exit_wiped():
    vars(atexit).clear()


@act
def contextlib_wiped():
    import contextlib

    vars(contextlib).clear()


@act
def dicts_cleared():
    """Every module that was imported from a file, and every class."""
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None):
            vars(module).clear()


# streams


@act
def stdout_closed():
    sys.stdout.close()
    sys.stderr.close()


@act
def stdout_is_none():
    sys.stdout = sys.stderr = None


@act
def stdout_deleted():
    del sys.stdout, sys.stderr


@act
def stdout_raises():
    class Stream:
        write = flush = boom

    sys.stdout = sys.stderr = Stream()


@act
def stdout_detached():
    sys.stdout.detach()


@act
def stdin_closed():
    if sys.stdin is not None:
        sys.stdin.close()


# ways to end


@act
def exits():
    sys.exit(3)


@act
def exits_with_an_object():
    raise SystemExit(object())


@act
def interrupts():
    raise KeyboardInterrupt


@act
def stops():
    raise StopIteration(5)


@act
def exits_as_a_generator():
    raise GeneratorExit


# threads and loops


@act
def loop_left_running():
    import asyncio
    import threading

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    started = threading.Event()
    loop.call_soon(started.set)
    threading.Thread(target=loop.run_forever, daemon=True).start()
    started.wait()


@act
def loop_left_with_a_pending_task():
    import asyncio

    async def wait():
        await asyncio.Event().wait()

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    task = loop.create_task(wait())
    loop.run_until_complete(asyncio.sleep(0))
    loop.kept = task


@act
def thread_left_behind():
    import threading

    threading.Thread(target=threading.Event().wait, daemon=True).start()


@act
def thread_left_that_raises():
    import threading

    threading.Thread(target=boom, daemon=True).start()


@act
def thread_left_that_exits():
    import threading

    threading.Thread(target=sys.exit, args=(3,), daemon=True).start()


# recursion and memory


@act
def recursion():
    recursion()


@act
def recursion_in_c():
    class Repr:
        def __repr__(self):
            return repr([self])

    repr(Repr())


@act
def recursion_in_c_without_a_limit():
    sys.setrecursionlimit(10**9)
    recursion_in_c()


@act
def recursion_in_getattr():
    class Getattr:
        def __getattr__(self, name):
            return getattr(self, name + "x"[:0])

    Getattr().attribute  # noqa: B018


@act
def recursion_without_a_limit_in_the_error():
    class Error(Exception):
        def __reduce_ex__(self, _):
            return Error, (Error(self),)

        def __repr__(self):
            return repr([self])

        __str__ = __repr__

    sys.setrecursionlimit(10**9)
    raise Error


@act
def memory():
    return bytes(1 << 62)


@act
def forks():
    return os.fork()


@act
def replaces_the_process():
    os.execv(sys.executable, [sys.executable, "-c", ""])


@act
def signals_masked():
    import signal

    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


@act
def environ_cleared():
    import posix

    posix.environ.clear()
    os.environ = None


@act
def environ_of_c_replaced():
    import posix

    posix.environ = None


@act
def context_changed():
    import decimal

    decimal.getcontext().prec = 1


def perform_or_add(what):
    return perform(what) if isinstance(what, str) else what + 1
