"""Reloads of `subpool serve` that come while another one is under way."""

import signal

import pytest

from serve_workers import made, start


def test_a_reload_while_a_follower_starts_replaces_that(serving, caplog):
    """Guards against a change that is not taken up, since it came while a worker started.

    And against requests that such a worker has when it is dropped: it may have begun to serve.
    """
    supervisor = start(serving(workers=2))
    supervisor._reload("a file changed")
    supervisor._reload("a file mended")
    first = made[2]
    assert first.orders == ["retire"]
    first.ends(SyntaxError())
    assert "The reload has failed" not in caplog.text
    second = made[3]
    assert first.number == second.number == 1
    second.is_ready()
    made[0].says("draining").ends()
    assert made[4].number == 2
    made[4].is_ready()
    # The second worker's follower is ready, and the one before it has not given way: all again.
    supervisor._reload("changed once more")
    made[4].ends(RuntimeError())
    assert made[5].number == 1
    assert "All workers are replaced" not in caplog.text
    assert "The reload has failed" not in caplog.text


def test_one_follower_starts_at_a_time(serving, caplog):
    """Guards against an interpreter for each of many signals, all of which import the app."""
    supervisor = start(serving(workers=2))
    for _ in range(30):
        supervisor._reload("SIGHUP")
    assert len(made) == 3
    made[2].ends()
    assert len(made) == 4
    made[3].is_ready()
    made[0].says("draining").ends()
    made[4].is_ready()
    made[1].says("draining").ends()
    assert caplog.text.count("All workers are replaced") == 1
    assert len(made) == 5
    assert not supervisor._reloads._left


@pytest.mark.parametrize(("is_stopped", "gives_way"), [(0, 0), (0, 1), (1, 0)])
def test_a_dropped_follower_that_has_begun_to_serve(serving, is_stopped, gives_way):
    """Guards against requests of such a worker that are cut off, and one that is waited for."""
    supervisor = start(serving(graceful_timeout=1))
    supervisor._reload("SIGHUP")
    dropped = made[1].says("loaded")
    supervisor._reload("SIGHUP")
    dropped.says("ready")
    assert len(made) == 2
    if is_stopped:
        supervisor._stop(signal.SIGTERM)
        assert dropped.orders == ["retire", "stop"]
        supervisor.clock.go(1 + 2)
        assert dropped.forces
        return
    if gives_way:
        dropped.says("draining")
    else:
        supervisor.clock.go(5)
    made[2].is_ready()
    assert made[0].orders == ["retire"]
    supervisor.clock.go(55)
    assert not dropped.forces
    supervisor.clock.go(7)
    assert dropped.forces


def test_a_dropped_follower_that_hangs_is_given_up(serving):
    """Guards against a reload that never comes, since it waits for what was there before."""
    supervisor = start(serving(graceful_timeout=1))
    supervisor._reload("an endless loop")
    supervisor._reload("mended")
    supervisor.clock.go(1 + 2)
    assert made[1].forces == [False]
    supervisor.clock.go(4)
    made[2].is_ready()
    assert made[0].orders == ["retire"]


def test_a_worker_that_does_not_give_way_does_not_hold_the_others(serving):
    """Guards against old code on all further places for a minute, because one request spins."""
    supervisor = start(serving(workers=2))
    supervisor._reload("SIGHUP")
    made[2].is_ready()
    supervisor.clock.go(4)
    assert len(made) == 3
    supervisor.clock.go(2)
    assert made[3].number == 2
    made[3].is_ready()
    made[0].says("draining")  # at last: which is not what is waited for now
    assert supervisor._reloads._giving_way.handle is made[1]
    supervisor.clock.go(6)
    assert supervisor._reloads._giving_way is None


def test_failures_of_long_ago_do_not_count(serving, caplog):
    """Guards against ten seconds without a worker, because followers failed days before."""
    supervisor = serving()
    supervisor.clock.go(1)  # no clock says 0 as a worker comes to be ready
    start(supervisor)
    supervisor.clock.go(40)
    made[0].says("worn")
    for number in range(1, 4):
        made[number].ends(RuntimeError())
        supervisor.clock.go(10)
    made[4].is_ready()
    made[0].says("draining").ends()
    made[4].ends(RuntimeError())
    assert caplog.text.count("starts again in 0.1 s") == 2
    supervisor.clock.go(0.1)
    made[5].is_ready().ends(RuntimeError())
    assert caplog.text.count("starts again in 0.2 s") == 2


def test_what_follows_the_server_fails(serving, caplog):
    """Guards against a server that ends because of a hook of the caller's."""
    supervisor = serving()
    supervisor.on_ready = supervisor.on_reload = lambda: 1 / 0
    start(supervisor)
    assert "on_ready has failed" in caplog.text
    supervisor._reload("SIGHUP")
    assert "on_reload has failed" in caplog.text
    made[1].is_ready()
    assert made[0].orders == ["retire"]
    assert supervisor.code == 0
