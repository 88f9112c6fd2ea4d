"""What else a task can do to its interpreter: beyond `sys` and `builtins` (wrecks.py)."""

# ruff: noqa: B003, S606 - that is the point
import atexit
import codecs
import gc
import io
import os
import sys

from wrecks import Boom, act, boom

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
