"""The supervisor of `subpool serve`, with the workers and the clock of `serve_workers`."""

import asyncio
import errno
import os
import signal
import socket
from concurrent.futures import Future
from unittest.mock import Mock

import pytest
from hypercorn.config import Config

from serve_workers import made, run_on, start
from subpool import TaskInterrupted
from subpool.errors import IncompatibleModuleError
from subpool.integrations._signals import Signals
from subpool.integrations.hypercorn import _listening, _supervisor, _watch, _workers
from subpool.integrations.hypercorn._listening import Listening
from subpool.integrations.hypercorn._main import SIGNALS

# Hypercorn leaves a socket that cannot be bound to the garbage collector.
LEFT = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def test_workers_that_cannot_be_made(serving, caplog):
    """Guards against a server without descriptors, which SIGTERM and SIGINT do not end."""
    made.fails = OSError(errno.EMFILE, "Too many open files")
    with Signals(*SIGNALS) as signals:
        assert serving().run(signals) == 1
    assert "Worker 1 cannot be started" in caplog.text
    made.fails = None
    supervisor = start(serving(workers=2))
    made.fails = OSError(errno.EMFILE, "Too many open files")
    supervisor._reload("SIGHUP")
    assert "The reload has failed" in caplog.text
    made[0].ends()
    supervisor.clock.go(0.1)
    assert "Worker 1 starts again in 0.2 s" in caplog.text
    supervisor._stop(signal.SIGTERM)
    assert made[1].orders == ["stop"]
    made[1].ends()
    assert supervisor._over.done()
    assert supervisor.code == 0


def test_what_ends_with_the_server_is_told_once(serving):
    """Guards against tasks that are begun while the last requests are finished."""
    supervisor = serving()
    told = []
    supervisor.on_stop = lambda: told.append(list(made[0].orders))
    start(supervisor)
    supervisor._stop(signal.SIGTERM)
    supervisor.clock.go(5)
    supervisor._stop(signal.SIGTERM)
    assert told == [[]]
    assert made[0].orders == ["stop"]


def test_a_failure_of_the_supervisor_ends_the_server(serving, caplog):
    """Guards against a server that goes on without its supervisor."""
    supervisor = start(serving())
    supervisor._loop.call_exception_handler({"message": "a reader", "exception": MemoryError()})
    assert made[0].orders == ["stop"]
    assert supervisor.code == 1
    assert "The supervisor has failed, and ends the server: a reader" in caplog.text
    supervisor._loop.call_exception_handler({"message": "another", "exception": MemoryError()})
    assert supervisor._over.done()


def test_a_start_that_hangs_is_given_up(serving, caplog):
    """Guards against a follower that hangs in its import, and with it all later reloads."""
    supervisor = start(serving(startup_timeout=10))
    old = made[0]
    supervisor._reload("SIGHUP")
    supervisor.clock.go(11)
    assert not made[1].forces
    supervisor.clock.go(1)
    assert made[1].forces == [False]
    assert "Worker 1 has not started within 10 s" in caplog.text
    made[1].ends(TimeoutError())
    assert "The reload has failed" in caplog.text
    assert not old.orders
    supervisor._reload("SIGHUP")
    supervisor.clock.go(11)
    made[2].says("loaded")
    supervisor.clock.go(11)
    made[2].says("ready")
    supervisor.clock.go(1000)
    assert not made[2].forces
    assert old.orders == ["retire"]


def test_a_first_start_that_hangs_ends_the_server(serving):
    """Guards against a server that never serves and does not say so, also if nothing ends it."""
    supervisor = serving(startup_timeout=10)
    supervisor._start(supervisor._places[0])
    supervisor.clock.go(12 + 5)
    assert made[0].forces == [False, False, False, True]
    assert supervisor._over.done()
    assert supervisor.code == 1


def test_the_end_starts_nothing(serving, caplog):
    """Guards against a reload that goes on after SIGTERM, with a worker that nobody ends."""
    supervisor = start(serving(workers=2))
    supervisor._reload("SIGHUP")
    made[2].is_ready()
    supervisor._stop(signal.SIGTERM)
    made[0].says("draining")
    assert len(made) == 3
    for worker in made:
        worker.ends()
    assert supervisor._over.done()
    assert supervisor.code == 0


@pytest.mark.parametrize("comes_to_be_ready", [True, False])
def test_the_end_comes_while_a_worker_starts(serving, comes_to_be_ready):
    """Guards against a slow start that is interrupted at once, and an exit code that hides it."""
    supervisor = serving(graceful_timeout=5)
    supervisor._start(supervisor._places[0])
    made[0].says("loaded")
    supervisor._stop(signal.SIGTERM)
    supervisor.clock.go(6)
    assert not made[0].forces
    if comes_to_be_ready:
        made[0].says("ready")
        supervisor.clock.go(6)
        assert not made[0].forces
    else:
        supervisor.clock.go(1)
        assert made[0].forces == [False]
    made[0].ends()
    assert supervisor._over.done()
    assert supervisor.code == (0 if comes_to_be_ready else 4)


def test_two_signals(serving, caplog):
    """Guards against a second signal that does nothing, and one that comes with the first."""
    supervisor = start(serving(graceful_timeout=60))
    supervisor._stop(signal.SIGTERM)
    supervisor.clock.go(0.9)
    supervisor._stop(signal.SIGINT)
    supervisor.clock.go(0.2)
    assert not made[0].forces
    supervisor._stop(signal.SIGINT)
    supervisor.clock.go(0)
    assert made[0].forces == [False]
    assert "SIGINT again" in caplog.text
    made[0].ends()
    assert supervisor.code == 4


def test_the_first_signal_after_a_failure(serving, caplog):
    """Guards against a signal that is taken for a second one, and cuts off what ends in time."""
    supervisor = serving(workers=2, graceful_timeout=60)
    for place in supervisor._places:
        supervisor._start(place)
    made[0].is_ready()
    made[1].ends(RuntimeError())
    assert made[0].orders == ["stop"]
    supervisor.clock.go(2)
    supervisor._stop(signal.SIGTERM)
    supervisor.clock.go(2)
    assert not made[0].forces
    supervisor._stop(signal.SIGTERM)
    supervisor.clock.go(0)
    assert made[0].forces == [False]
    assert caplog.text.count("SIGTERM again") == 1
    made[0].ends()
    assert supervisor.code == 1


@pytest.mark.parametrize("is_closing", [False, True])
def test_a_stop_gives_a_replaced_worker_less_time(serving, is_closing):
    """Guards against a stop that waits for a minute, and one that cuts the lifespan's end short."""
    supervisor = start(serving(graceful_timeout=1))
    supervisor._reload("SIGHUP")
    made[1].is_ready()
    supervisor.clock.go(50)
    assert made[0].orders == ["retire"]
    assert not made[0].forces
    if is_closing:
        made[0].says("closing")
    supervisor._stop(signal.SIGTERM)
    assert made[0].orders == ["retire", "stop"]
    supervisor.clock.go(1 + 2)
    assert bool(made[0].forces) is not is_closing


def test_who_does_not_end_counts_only_at_the_end(serving, monkeypatch, caplog):
    """Guards against exit code 4 for a worker that had ended long before, late as it was."""
    codes = []
    monkeypatch.setattr(_supervisor, "leave_at_the_end", codes.append)
    for ends in (True, False):
        made.clear()
        supervisor = start(serving(graceful_timeout=1))
        supervisor._reload("SIGHUP")
        made[1].is_ready()
        supervisor.clock.go(60 + 2 + 5)
        assert "It is left to itself" in caplog.text
        made[0].closes = ends
        made[0].ends()
        supervisor.clock.go(5)
        assert ("does not close" in caplog.text) is not ends
        supervisor._stop(signal.SIGTERM)
        made[1].ends()
        assert supervisor._over.done()
        with Signals(*SIGNALS) as signals:
            assert run_on(supervisor, signals) == (0 if ends else 4)
        assert codes == ([] if ends else [4])


def test_a_worker_that_its_pool_has_given_up():
    """Guards against an end that waits for ever for a call that cannot be interrupted."""

    class Stuck(_workers.InterpreterHandle):
        def _begin(self, settings):
            self._future = Future()

    loop = asyncio.new_event_loop()
    ended = []
    stuck = Stuck(loop, {}, 1, None, lambda _, error: ended.append(error))
    error = TaskInterrupted("it still runs")
    stuck._is_given_up = True
    stuck._future.set_exception(error)
    stuck._settle()
    assert not ended
    stuck._theirs.close()
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert ended == [error]
    loop.close()


def test_no_thread_to_wait_for_what_ends(serving):
    """Guards against a server that ends in a reload because one thread cannot be started."""
    supervisor = start(serving())
    supervisor._reload("SIGHUP")
    made[1].is_ready()
    old = made[0]
    old.when_gone = failing = Mock(side_effect=RuntimeError("can't start new thread"))
    old.says("draining").ends()
    supervisor.clock.go(1)
    assert failing.call_count == 2
    failing.side_effect = None
    supervisor.clock.go(1)
    failing.call_args.args[0]()
    supervisor.clock.go(10)
    assert failing.call_count == 3
    assert not supervisor._leaving._lives
    assert supervisor.code == 0


def test_signals_in_the_last_seconds(serving):
    """Guards against a process that a signal kills while interpreters close, or after that."""
    supervisor = start(serving())
    supervisor._stop(signal.SIGTERM)

    def signal_all(gone):
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        supervisor._loop.call_soon(gone)

    made[0].when_gone = signal_all
    supervisor._loop.call_soon(made[0].ends)
    numbers = signal.SIGHUP, signal.SIGINT, signal.SIGTERM
    before = [signal.getsignal(number) for number in numbers]
    try:
        with Signals(*SIGNALS, stay=True) as signals:
            assert run_on(supervisor, signals) == 0
        for number in numbers:
            os.kill(os.getpid(), number)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    with Signals(*SIGNALS):
        assert signal.getsignal(signal.SIGINT) is not before[1]
    assert [signal.getsignal(number) for number in numbers] == before


@LEFT
@pytest.mark.parametrize("bind", ["127.0.0.1:99999", "fd://0", "unix:/absent/socket"])
def test_what_cannot_be_listened_on_ends_the_server(serving, caplog, bind, tmp_path):
    """Guards against a server that goes on without sockets, or with its number in a file."""
    pid = tmp_path / "pid"
    supervisor = serving(bind=[bind], pid_path=str(pid))
    supervisor._start(supervisor._places[0])
    made[0].says("loaded")
    assert made[0].orders == ["stop"]
    assert made[0].sockets is None
    assert supervisor.code == 1
    assert "Cannot listen: " in caplog.text
    assert not pid.exists()


@LEFT
def test_a_second_server_by_mistake(tmp_path):
    """Guards against two servers on one port, and a file that the second one takes with it."""
    config = Config()
    config.workers, config.bind = 2, ["127.0.0.1:0"]
    config.pid_path = str(tmp_path / "pid")
    first = Listening(config)
    sock = first.open().insecure_sockets[0]
    try:
        first.write_pid()
        config.bind = [f"127.0.0.1:{sock.getsockname()[1]}"]
        second = Listening(config)
        with pytest.raises(OSError, match="in use"):
            second.open()
        second.close()
        second.remove_pid()
        assert (tmp_path / "pid").read_text() == str(os.getpid())
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        first.remove_pid()
        assert not (tmp_path / "pid").exists()
    finally:
        first.close()


def test_as_many_descriptors_as_may_be(monkeypatch):
    """Guards against workers that have to share one process's usual 1024."""
    import resource

    limits, any_ = [], resource.RLIM_INFINITY  # -1 before 3.15
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: limits.append(limit))
    for soft, hard in ((1024, 4096), (1024, any_), (1024, 1 << 20), (4096, 4096), (any_, any_)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, s=soft, h=hard: (s, h))
        _listening.raise_limit()
    assert limits == [(4096, 4096), (1 << 16, any_), (1 << 16, 1 << 20)]


def test_it_is_not_said_that_no_socket_was_opened(serving, caplog):
    """Guards against a log that says so of a server that has sockets."""
    error = IncompatibleModuleError("numpy does not load", name="numpy")
    supervisor = serving()
    supervisor._start(supervisor._places[0])
    made[0].says("loaded").ends(error)
    assert supervisor.code == 3
    assert "cannot be served by interpreters" in caplog.text
    assert "No socket was opened" not in caplog.text


def test_files_that_an_error_is_about(tmp_path, monkeypatch):
    """Guards against a `--reload` that does not see the file that mends it."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    broken, failing = tmp_path / "watch_broken.py", tmp_path / "watch_failing.py"
    broken.write_text("def")
    failing.write_text("import watch_broken")
    with pytest.raises(SyntaxError) as caught:
        import watch_failing
    assert _watch.files_of(caught.value) >= {str(broken), str(failing)}
    failing.write_text("import watch_absent  # and compiled anew, since it is longer")
    with pytest.raises(ModuleNotFoundError) as caught:
        import watch_failing  # noqa: F401
    missing = tmp_path / "watch_absent" / "__init__.py"
    files = _watch.files_of(ExceptionGroup("", [RuntimeError(), caught.value]))
    assert files >= {str(missing), str(tmp_path / "watch_absent.py"), str(failing)}
    watch = _watch.Watch()
    stamp = failing.stat().st_mtime_ns
    watch.add(files, stamp)
    assert not watch.changed()
    missing.parent.mkdir()
    missing.touch()
    assert watch.changed() == [str(missing)]
    watch = _watch.Watch()
    watch.add(files, stamp - 1)
    assert str(failing) in watch.changed()
