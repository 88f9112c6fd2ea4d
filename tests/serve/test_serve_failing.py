"""`subpool serve`: apps and workers that fail, and what the exit code says of it."""

import contextlib
import signal

import pytest

from serve_support import HERE, Served

GOOD = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%s"})
"""


@pytest.mark.slow
def test_a_library_that_cannot_load_is_told_before_a_socket_opens():
    """Guards against a server that takes connections and answers none of them."""
    with (
        Served("serve_numpy:app", "-w", 2) as served,
        Served("serve_numpy:app", "--workers-kind=process") as on_processes,
    ):
        assert served.ended() == 3
        assert "serve_numpy:app cannot be served by interpreters" in served.log
        assert "imports numpy" in served.log
        assert "--workers-kind=process" in served.log
        assert served.log.count("cannot be served") == 1
        assert served.port is None
        on_processes.up()
        assert on_processes.get() == (200, b"6")
        assert on_processes.end() == 0


@pytest.mark.slow
def test_an_app_that_fails_at_the_start_ends_the_server(tmp_path):
    """Guards against a server that tries for ever, or ends as if all was well."""
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "failing.py").write_text(
        "async def app(scope, receive, send):\n"
        "    assert (await receive())['type'] == 'lifespan.startup'\n"
        "    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})\n"
    )
    (tmp_path / "late.py").write_text(
        "async def app(scope, receive, send):\n"
        "    assert (await receive())['type'] == 'lifespan.startup'\n"
        "    await send({'type': 'lifespan.startup.complete'})\n"
        "    assert (await receive())['type'] == 'lifespan.shutdown'\n"
        "    await send({'type': 'lifespan.shutdown.failed', 'message': 'the database is gone'})\n"
    )
    cases = (
        (
            "absent:app",
            "interpreter",
            "Cannot load application from 'absent:app', module not found",
        ),
        ("broken:app", "process", "ZeroDivisionError"),
        ("failing:app", "interpreter", "no database"),
    )
    with contextlib.ExitStack() as stack:
        each = [
            (
                stack.enter_context(Served(app, "-w", 2, "--workers-kind", kind, cwd=tmp_path)),
                why,
            )
            for app, kind, why in cases
        ]
        late = stack.enter_context(Served("late:app", cwd=tmp_path))
        late.up()
        assert late.end() == 1
        assert "the database is gone" in late.log
        for served, why in each:
            assert served.ended() == 1, served.log
            assert why in served.log
            assert "starts again" not in served.log


@pytest.mark.slow
def test_system_exit_costs_its_request_and_nothing_else():
    """Guards against `sys.exit` in a request, or in a task of one, that ends the event loop.

    And against a server that goes on without its socket, if the address is in use.
    """
    with Served() as served:
        served.up()
        slow = [served.ask("/slow?0.5") for _ in range(3)]
        for path in ("/exit", "/exit-task", "/exit-group"):
            assert served.get(path)[0] == 500
        for connection in slow:
            assert connection.getresponse().read() == b"slow"
            connection.close()
        assert "SystemExit in a request ends that request only" in served.log
        assert served.log.count("Running on") == 1
        with Served(bind=f"127.0.0.1:{served.port}") as second:
            assert second.ended() == 1
            assert "Cannot listen: [Errno 98]" in second.log
        assert served.end() == 0


@pytest.mark.slow
def test_a_worker_that_fails_is_started_again(tmp_path):
    """Guards against one worker's failure that ends the server, as Hypercorn's own does."""
    with Served("serve_apps:hello", "-w", 2, "--workers-kind", "process") as served:
        served.up()
        with pytest.raises(OSError, match=r"closed connection|reset by peer"):
            served.get("/die")
        served.wait_for("its process was killed by signal 9")
        served.wait_for("Running on", 3)
        assert served.get()[0] == 200
        assert served.end() == 0
    app = tmp_path / "sometimes.py"
    app.write_text("from serve_apps import hello")
    with Served("sometimes:hello", cwd=tmp_path, env={"PYTHONPATH": str(HERE)}) as served:
        served.up()
        app.write_text("1 / 0")
        served.ask("/stop-loop").close()
        served.wait_for("starts again in 0.1 s")
        served.wait_for("starts again in 0.2 s")
        app.write_text("from serve_apps import hello  # mended")
        served.wait_for("Running on", 2)
        assert served.get()[0] == 200
        assert served.end() == 0


@pytest.mark.slow
def test_a_reload_of_what_is_broken_keeps_the_old_workers(tmp_path):
    """Guards against a server that a typing error takes down, and changes that are not seen."""
    app = tmp_path / "changing.py"
    app.write_text(GOOD % "first")
    with Served("changing:app", "-w", 2, "--reload", cwd=tmp_path) as served:
        served.up()
        app.write_text("1 / 0  # and so on, since its size tells, too")
        served.wait_for("The reload has failed")
        assert served.get() == (200, b"first")
        served.tell(signal.SIGHUP)
        served.wait_for("The reload has failed", 2)
        assert served.get() == (200, b"first")
        app.write_text(GOOD % "second one")
        served.wait_for("All workers are replaced")
        assert served.get() == (200, b"second one")
        assert served.end() == 0
