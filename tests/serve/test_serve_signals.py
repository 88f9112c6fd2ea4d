"""`subpool serve`: how it ends and reloads, and what that costs the clients."""

import contextlib
import random
import signal
import sys
import time

import pytest

from serve_support import Load, Served, answer
from support import eventually

KINDS = ["interpreter", "process"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_sigterm_finishes_a_request_in_flight(kind, tmp_path):
    """Guards against workers that are ended before their requests, and a wrong exit code."""
    notes, pid = tmp_path / "notes", tmp_path / "pid"
    with Served(
        "serve_apps:hello", "-w", 2, "--workers-kind", kind, "-p", pid,
        env={"SERVE_NOTES": str(notes)},
    ) as served:  # fmt: skip
        served.up()
        assert pid.read_text() == str(served.process.pid)
        slow = served.ask("/slow?0.6")
        assert served.get("/")[0] == 200
        served.tell(signal.SIGTERM)
        assert answer(slow) == (200, b"slow")
        assert served.ended() == 0
    assert sorted(notes.read_text().split("\n")[:-1]) == [
        "shutdown 1", "shutdown 2", "startup 1", "startup 2"
    ]  # fmt: skip
    assert not pid.exists()


@pytest.mark.slow
def test_a_reload_under_load_fails_no_request(times):
    """Guards against connections that are dropped with the worker that has accepted them."""
    reloads = len(times(2, long=20))
    enough = len(times(800, long=5_000))
    with Served("serve_apps:hello", "-w", 2) as served:
        served.up()
        with Load(served, clients=3) as kept, Load(served, clients=3, keep=False) as new:
            for number in range(1, reloads + 1):
                kept.wait_for(kept.answers + 100)
                new.wait_for(new.answers + 100)
                served.reload(number)
            kept.wait_for(enough)
            new.wait_for(enough)
        assert not kept.errors + new.errors
        assert served.end() == 0


@pytest.mark.slow
def test_a_reload_under_computing_load_fails_no_request():
    """Guards against a request that waits unread when its worker's loop is late."""
    with Served("serve_apps:hello", "-w", 2) as served:
        served.up()
        with Load(served, clients=6, path="/compute") as load:
            load.wait_for(10)
            served.reload()
            load.wait_for(load.answers + 10)
        assert not load.errors
        assert served.end() == 0


@pytest.mark.slow
def test_max_requests_fails_no_request():
    """Guards against Hypercorn's own way, which closes what is open and leaves the place empty."""
    with Served(
        "serve_apps:hello", "-w", 2, "--max-requests", 40, "--max-requests-jitter", 20
    ) as served:
        served.up()
        with Load(served, clients=4) as load:
            served.wait_for("another follows", 2)
        assert not load.errors
        assert served.end() == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_end_comes_at_any_moment(kind, times):
    """Guards against a stop that is lost, in the start, under load, or in a reload."""
    for attempt in times(2 if kind == "interpreter" else 1, long=50):
        chance = random.Random(attempt)  # noqa: S311 - no secret
        with Served("serve_apps:hello", "-w", 2, "--workers-kind", kind) as served:
            when = attempt % 3
            if when == 0:
                time.sleep(chance.random() * 0.6)
                assert served.end() in {0, -signal.SIGTERM}, served.log
                continue
            served.up()
            slow = served.ask("/slow?0.3")
            with Load(served, clients=2):
                if when == 2:
                    served.tell(signal.SIGHUP)
                time.sleep(chance.random() * 0.3)
                served.tell(chance.choice([signal.SIGTERM, signal.SIGINT]))
                assert answer(slow) == (200, b"slow"), served.log
            assert served.ended() == 0, served.log


@pytest.fixture
def hasty(tmp_path):
    """Flags for a server that gives its requests little time to end."""
    file = tmp_path / "hypercorn.toml"
    file.write_text("graceful_timeout = 0.2\n")
    return ["-c", file]


@pytest.mark.slow
def test_what_does_not_end_is_cut_off(hasty, times):
    """Guards against a server that waits for ever, and one that says all went well.

    Also for a thread of the app's, in which a WSGI app's requests run.
    """
    cases = (
        ("hello", "/slow?60", "interpreter", "cut off"),
        ("hello", "/spin", "interpreter", "interrupted"),
        ("wsgi", "/sleep", "interpreter", "The process ends without what still runs"),
        ("hello", "/slow?60", "process", "cut off"),
        ("hello", "/spin", "process", "interrupted"),
    )[: len(times(3, long=5))]
    with contextlib.ExitStack() as stack:
        patient = stack.enter_context(Served("serve_apps:hello", "--graceful-timeout", 60))
        each = [
            (
                stack.enter_context(Served(f"serve_apps:{app}", "--workers-kind", kind, *hasty)),
                path,
                what,
            )
            for app, path, kind, what in cases
        ]
        patient.up()
        stack.callback(patient.ask("/slow?60").close)
        patient.wait_for("begun /slow")
        for served, path, _ in each:
            served.up()
            stack.callback(served.ask(path).close)
            served.wait_for(f"begun {path[:5]}")
            served.tell(signal.SIGTERM)
        patient.tell(signal.SIGTERM)
        for served, _, what in each:
            assert served.ended() == 4, served.log
            assert what in served.log
        # By now its first signal was more than a second ago.
        assert patient.process.poll() is None
        assert patient.end() == 4
        assert "SIGTERM again: what still runs is cut off" in patient.log


@pytest.mark.slow
def test_reloads_leave_nothing_behind(times):
    """Guards against interpreters, descriptors and threads that each reload leaves behind.

    And against listening sockets that are opened anew, with clients in the old one's queue.
    """
    first, further = len(times(3, long=50)), len(times(3, long=100))
    with Served("serve_apps:hello") as served:
        served.up()
        listening = served.listening()
        for number in range(1, first + 1):
            served.reload(number)
        before = served.holdings(first)
        for number in range(first + 1, first + further + 1):
            served.reload(number)
        after = served.holdings(first + further)
        assert after["descriptors"] == before["descriptors"]
        eventually(lambda: served.threads() == before["threads"], "the end of threads")
        assert served.listening() == listening
        assert len(listening) == 1
        # What an interpreter takes is 8 MB or more. The first reloads add to what the process has.
        # On 3.13 CPython itself loses it (docs/limits.md).
        if sys.version_info >= (3, 14):
            assert after["megabytes"] < before["megabytes"] + 10
        assert served.end() == 0


@pytest.mark.slow
def test_processes_end_with_their_supervisor():
    """Guards against workers that nobody supervises any more, and a port that stays taken."""
    with Served("serve_apps:hello", "-w", 2, "--workers-kind", "process") as served:
        served.up()
        served.process.kill()
        served.ended()  # returns when the workers have closed the log's pipe, too
        assert not served.is_listening()
