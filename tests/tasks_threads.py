"""Task functions of the tests of threads in workers. Imported there, so it imports little."""

import os
import sys


def modules():
    """What a worker has imported for threads before any task did."""
    return sorted(
        name for name in sys.modules if name in ("threading", "multiprocessing", "subpool._threads")
    )


def names():
    import logging
    import threading

    thread = threading.current_thread()
    record = logging.makeLogRecord({}), logging.LogRecord("", 0, "", 0, "", (), None)
    return {
        "name": thread.name,
        "in logs": record[1].threadName,
        "daemon": thread.daemon,
        "alive": thread.is_alive(),
        "same number": thread.ident == threading.get_ident(),
        "same system number": thread.native_id == threading.get_native_id(),
        "is main": thread is threading.main_thread(),
        "main": threading.main_thread().name,
        "all": sorted(thread.name for thread in threading.enumerate()),
        "loader": type(threading.__spec__.loader).__name__,
    }


def name_after_reload():
    import importlib
    import threading

    importlib.reload(threading)
    thread = threading.Thread(target=int, daemon=True)
    thread.start()
    thread.join()
    return threading.current_thread().name


def import_what_is_not_there():
    import threading.nothing  # noqa: F401


def process():
    import multiprocessing

    own, parent = multiprocessing.current_process(), multiprocessing.parent_process()
    return (
        own.name,
        bytes(own.authkey),
        type(own.authkey).__name__,
        own.daemon,
        parent and (parent.name, parent.pid, parent.is_alive()),
        multiprocessing.Process(target=int).name,
    )


def start_method():
    import multiprocessing

    return multiprocessing.get_start_method()


def process_pool():
    """Leave a process pool behind, as programs do."""
    import multiprocessing
    import operator

    left.append(multiprocessing.Pool(1))
    return left[-1].apply(operator.add, (1, 2))


left = []


# Each starts daemon threads and leaves them.


def busy():
    import threading

    def spin():
        while True:
            pass

    left.append(threading.Thread(target=spin, daemon=True))
    left[-1].start()


def by_setter():
    import threading

    thread = threading.Thread(target=threading.Event().wait)
    thread.daemon = True
    thread.start()
    assert thread.daemon
    assert "daemon" in repr(thread)


def inherited():
    import threading

    def outer():
        inner = threading.Thread(target=threading.Event().wait)
        inner.start()
        inner.join()

    threading.Thread(target=outer, daemon=True).start()


def queue_listener():
    import logging
    import queue
    from logging.handlers import QueueHandler, QueueListener

    records, handled = queue.SimpleQueue(), queue.Queue()
    handler = logging.Handler()
    handler.emit = handled.put
    QueueListener(records, handler).start()
    logger = logging.getLogger("of a task")
    logger.addHandler(QueueHandler(records))
    logger.warning("heard")
    return handled.get().getMessage()


def timer():
    import threading

    timer = threading.Timer(1000, print)
    timer.daemon = True
    timer.start()


def queue_and_simple_queue():
    import queue
    import threading

    simple = queue.SimpleQueue()

    def take(queue):
        while True:
            queue.get()

    for function, *args in ((take, queue.Queue()), (take, simple), (simple.get,)):
        threading.Thread(target=function, args=args, daemon=True).start()


def event_loop():
    import asyncio
    import threading

    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return asyncio.run_coroutine_threadsafe(asyncio.sleep(0, "slept"), loop).result()


def past_threading():
    import _thread
    import threading

    lock = threading.Lock()
    lock.acquire()

    def spin(word, *, more):
        assert (word, more) == ("positional", "by name")
        lock.release()
        while True:
            pass

    ident = _thread.start_new_thread(spin, ("positional",), {"more": "by name"})
    lock.acquire()
    assert isinstance(ident, int)
    try:
        _thread.start_new_thread(spin, ["no tuple"])
    except TypeError as error:
        return str(error)


def connection_pool():
    """What psycopg_pool does: workers at a queue, and a scheduler with an event."""
    import queue
    import threading

    class Pool:
        def __init__(self):
            self.jobs, self.done = queue.Queue(), queue.Queue()
            self.event, self.lock = threading.Event(), threading.RLock()
            for function in (self.work, self.work, self.schedule):
                threading.Thread(target=function, daemon=True).start()

        def work(self):
            while True:
                self.done.put(self.jobs.get()())

        def schedule(self):
            while True:
                with self.lock:
                    wait = 1000
                self.event.wait(timeout=wait)

    pool = Pool()
    pool.jobs.put(lambda: "connected")
    return pool.done.get()


def executor():
    from concurrent.futures import ThreadPoolExecutor

    left.append(ThreadPoolExecutor(2))
    return left[-1].submit(int, "3").result()


def catches_it_once(told):
    """A thread that catches what should end it is told again."""
    import threading

    sys.modules["subpool._threads"]._AGAIN = 0.01

    def spin():
        try:
            while True:
                pass
        except SystemExit:
            os.write(told, b"1")
        while True:
            pass

    threading.Thread(target=spin, daemon=True).start()


def order(pipe):
    """Write what happens at the end, in the order in which it does."""
    import atexit
    import threading

    ordinary, hooked = threading.Event(), threading.Event()

    def daemon():
        try:
            threading.Event().wait()
        finally:
            os.write(pipe, b"daemon ")

    def waits_for_the_hook():
        ordinary.set()
        hooked.wait()
        os.write(pipe, b"ordinary ")

    def hook():
        os.write(pipe, b"hook ")
        hooked.set()

    def fails():
        raise LookupError("a hook that fails")

    atexit.register(os.write, pipe, b"atexit ")
    threading._register_atexit(hook)
    threading._register_atexit(fails)
    threading.Thread(target=daemon, daemon=True).start()
    threading.Thread(target=waits_for_the_hook).start()
    ordinary.wait()


def late_daemon(pipe):
    """An atexit function starts a daemon thread."""
    import atexit
    import threading

    def late():
        thread = threading.Thread(target=threading.Event().wait, daemon=True)
        thread.start()
        os.write(pipe, b"late")

    atexit.register(late)


def registers_as_it_ends(pipe):
    """A daemon thread leaves an atexit function, which starts another."""
    import threading

    def daemon():
        try:
            threading.Event().wait()
        finally:
            late_daemon(pipe)

    threading.Thread(target=daemon, daemon=True).start()


def blocked(reader, name="in a system call"):
    """Leave a thread in a call that nothing interrupts."""
    import threading

    threading.Thread(target=os.read, args=(reader, 1), daemon=True, name=name).start()


def blocked_and_fails(reader):
    blocked(reader)
    raise LookupError("after that")
