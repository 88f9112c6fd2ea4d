"""Task functions that workers import by name. Imported in every worker, so it imports little."""

import enum
import os
import sys
import threading

from subpool import interpreter, worker

GLOBAL = 41
state = {}


def here():
    """Tell where the caller runs: interpreter, OS thread, whether in a worker."""
    import _interpreters

    current = _interpreters.get_current()
    number = current[0] if isinstance(current, tuple) else current
    return int(number), threading.get_native_id(), worker()


def interpreter_id():
    return here()[0]


def echo(*args, **kwargs):
    return (args, kwargs) if kwargs else args


def identity(value):
    return value


def add(first, second=0):
    return first + second


def nothing():
    pass


def take(_value):
    pass


def read_global():
    return GLOBAL


def put(key, value):
    state[key] = value


def get(key, default=None):
    return state.get(key, default)


def set_global(value):
    """The kind of initializer that the standard pool runs in the worker's ``__main__``."""
    global GLOBAL
    GLOBAL = value


def thread_name():
    """The operating system's name of the calling thread."""
    with open("/proc/thread-self/comm") as file:  # noqa: PTH123 - pathlib is heavy for a worker
        return file.read().rstrip("\n")


def block(started, release):
    """Say on one pipe that the task runs, and wait for another pipe's word."""
    os.write(started, b"s")
    os.read(release, 1)
    return "released"


def write(fd, text):
    os.write(fd, text.encode())


def block_initializer(started, release):
    block(started, release)


def fail(error):
    raise error


def fail_in_steps():
    def inner_step_of_the_task():
        raise LookupError("deep inside")

    inner_step_of_the_task()


def fail_with_chain():
    try:
        raise OSError("the first cause")
    except OSError as error:
        raise ValueError("the second") from error


def failing_initializer(*_):
    raise LookupError("no such thing for the initializer")


def is_loaded(module):
    return module in sys.modules


def loaded_modules():
    return set(sys.modules)


def nested_call(value):
    """Call a tagged function directly, inside a worker."""
    return tagged_here(value), here()


def recurse(depth):
    return 0 if depth == 0 else 1 + recurse(depth - 1)


def recurse_for_ever():
    return recurse(-1)


def lock():
    return threading.Lock()


def lock_inside():
    return {"deep": [1, threading.Lock()]}


def thread_state_count():
    return threading.active_count()


def path():
    return sys.path


@interpreter
def tagged_here(value=None):
    """A decorated function of a module."""
    return value, here()


@interpreter
def tagged_block(started, release):
    return block(started, release)


@interpreter
def tagged_set_global(value):
    global GLOBAL
    GLOBAL = value


def remember_interpreter(fd):
    os.write(fd, f"{interpreter_id()}\n".encode())


def remember_thread(fd):
    os.write(fd, f"{threading.get_native_id()}\n".encode())


class Colour(enum.Enum):
    RED = 1


class Accumulator:
    """A class with methods of each kind."""

    def __init__(self, start=0):
        self.total = start

    def __eq__(self, other):
        return type(other) is Accumulator and other.total == self.total

    __hash__ = None

    def plus(self, value):
        return self.total + value, interpreter_id()

    @interpreter
    def tagged_plus(self, value):
        return self.total + value, interpreter_id()

    @staticmethod
    def static(value):
        return value, interpreter_id()

    @classmethod
    def made(cls, value):
        return cls(value)


class Marked(list):
    """A value that can be watched by a weak reference."""


class Held:
    """An empty object that can be watched."""


class Callable:
    def __call__(self, value):
        return value, interpreter_id()


class CustomError(Exception):
    """An exception with its own arguments and an attribute."""

    def __init__(self, code, text):
        super().__init__(code, text)
        self.code = code


class FalseyError(Exception):
    def __bool__(self):
        return False

    def __len__(self):
        return 0


class UnrebuildableError(Exception):
    """Pickles, but its __init__ wants more than its args give: unpickling fails."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def raise_custom():
    error = CustomError(7, "seven")
    error.extra = {"any": ["thing"]}
    error.add_note("a note from the worker")
    raise error


def raise_falsey():
    raise FalseyError("still an exception")


def raise_unpicklable():
    error = ValueError("holds a lock")
    error.lock = threading.Lock()
    raise error


def raise_unrebuildable():
    raise UnrebuildableError("one", "two")


def raise_group():
    raise ExceptionGroup("several", [ValueError(1), LookupError(2)])


def exit_with(code):
    sys.exit(code)


def interrupt_self():
    raise KeyboardInterrupt


def shared_twice(first, second):
    return first is second


def has_cycle(value):
    return value[0] is value


def attribute_of_subpool(name):
    import subpool

    return getattr(subpool, name).__name__


def block_and_tell(started, release):
    block(started, release)
    return worker(), interpreter_id()


def worker_in_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(worker()))
    thread.start()
    thread.join()
    return found[0], worker()


def run_a_loop():
    import asyncio

    async def main():
        return await asyncio.gather(*(asyncio.to_thread(pow, i, 2) for i in range(3)))

    return asyncio.run(main())


def system(name):
    return getattr(sys, name)


def layout(view):
    """Everything that a memoryview says of itself, and its content."""
    kept = view.format, view.itemsize, view.ndim, view.shape, view.strides, view.readonly
    return *kept, view.nbytes, view.tolist()


def fill(view, value):
    for index in range(len(view)):
        view[index] = value


def fill_deep(*args, **kwargs):
    """Fill the views at any depth; tell how many there are."""
    found = [args, kwargs]
    for value in found:
        if isinstance(value, dict):
            found += value.values()
        elif isinstance(value, list | tuple):
            found += value
        elif isinstance(value, Box):
            found.append(value.content)
        elif isinstance(value, memoryview):
            fill(value, 7)
    return sum(isinstance(value, memoryview) for value in found)


def content_of_stashed(key):
    return bytes(state[key])


def drop_in_a_thread(key, ready, told):
    """Leave a thread that forgets what was put, when told, while the worker sleeps."""

    def body():
        os.read(told, 1)
        del state[key]

    threading.Thread(target=body).start()
    os.write(ready, b"s")


def leave_in_a_cycle(view):
    cycle = [view]
    cycle.append(cycle)


def raise_with(view):
    raise LookupError(len(view))


def own_view(text, form, shape):
    return memoryview(bytearray(text)).cast(form, shape)


def part(view, start, stop, step):
    return {"part": [view[start:stop:step]]}


def large(kind, size):
    import array

    made = {
        "bytes": lambda: b"r" * size,
        "bytearray": lambda: bytearray(b"r") * size,
        "array": lambda: array.array("H", range(1000)) * (size // 2000),
        "memoryview": lambda: memoryview(b"r" * size),
    }[kind]()
    return {"twice": [made, made]}


def suboffsets_in_the_worker():
    from _testbuffer import ND_PIL, ndarray

    return memoryview(ndarray(list(range(6)), shape=[2, 3], flags=ND_PIL))


def same_twice(value):
    first, second = value
    return first is second, type(first).__name__, len(first)


class Box:
    """An object that only pickle can carry."""

    def __init__(self, content):
        self.content = content


class Picture:
    """A class that gives its pixels out of band, as numpy's arrays do."""

    def __init__(self, pixels):
        self.pixels = pixels

    def __reduce_ex__(self, protocol):
        from pickle import PickleBuffer

        return Picture, (PickleBuffer(self.pixels),)


def instance_of_a_module_made_here():
    import types

    module = types.ModuleType("made_in_the_worker")
    sys.modules["made_in_the_worker"] = module
    exec("class C: pass", module.__dict__)  # noqa: S102
    return module.C()


def block_if(what):
    if what is None:
        return None
    if what[0] == "put":
        return put(what[1], True)
    return block(*what)


def write_when_told(told, fd, text):
    os.read(told, 1)
    write(fd, text)


def leave_a_thread(fd):
    """Leave a thread that ends only after this task has, when the interpreter's end joins it."""

    def body():
        threading.main_thread().join(0)
        write(fd, "thread\n")

    gate = threading.Event()

    def held():
        gate.wait()
        body()

    threading.Thread(target=held).start()
    threading._register_atexit(gate.set)
    return "left"


def fail_in_second_worker():
    if worker().id == 1:
        raise LookupError("the second worker's initializer")


def exit_initializer():
    sys.exit(3)


def interrupt_initializer():
    raise KeyboardInterrupt


def block_and_put(started, release):
    block(started, release)
    put("initialized", True)


def spin_until_readable(fd):
    """Compute, without ever giving the GIL away for long, until the pipe has something."""
    while True:
        try:
            os.read(fd, 1)
        except BlockingIOError:
            sum(range(1000))
        else:
            return "seen"


def block_if_and_tell(what):
    block_if(what)
    return interpreter_id()


def fail_if(error):
    if error is not None:
        raise error


def interpreter_id_of(_):
    return interpreter_id()


def functions_called(qualname):
    """Count the functions of that name that this interpreter keeps."""
    import gc

    gc.collect()
    found = (item for item in gc.get_objects() if type(item) is type(nothing))
    return sum(item.__qualname__ == qualname for item in found)
