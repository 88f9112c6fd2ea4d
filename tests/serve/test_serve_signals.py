"""`subpool serve`: how it ends and reloads, and what that costs the clients."""

import pytest
from serve_support import Load, Served, answer

KINDS = ["interpreter", "process"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_sigterm_finishes_a_request_in_flight(kind, tmp_path):
    """Guards against workers that are ended before their requests, and a wrong exit code."""
    notes = tmp_path / "notes"
    with Served(
        "serve_apps:hello", "-w", 2, "--workers-kind", kind, env={"SERVE_NOTES": str(notes)}
    ) as served:
        served.up()
        slow = served.ask("/slow?0.6")
        assert served.get("/")[0] == 200
        served.tell(15)
        assert answer(slow) == (200, b"slow")
        assert served.ended() == 0
    assert sorted(notes.read_text().split("\n")[:-1]) == [
        "shutdown 1", "shutdown 2", "startup 1", "startup 2"
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("keep", [True, False])
def test_a_reload_under_load_fails_no_request(keep, times):
    """Guards against connections that are dropped with the worker that has accepted them."""
    reloads = len(times(3, long=20))
    with Served("serve_apps:hello", "-w", 2) as served:
        served.up()
        with Load(served, keep=keep) as load:
            for number in range(1, reloads + 1):
                load.wait_for(load.answers + 300)
                served.reload(number)
            load.wait_for(2500)
        assert not load.errors
        assert served.end() == 0
