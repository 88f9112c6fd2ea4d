"""Memory: what a pool took it gives back, however long it runs. `measure.py` says how it is told.

``pytest --long`` does all as often as docs/reliability/recycling.md says.
"""

import json
import sys
from pathlib import Path

import pytest

import tasks
from subpool._subpool import _lent_buffers
from support import eventually

PROGRAM = Path(__file__).with_name("measure.py")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
# Without subpool, and with nothing run in it; 3.4 MB after some imports.
none_left = pytest.mark.skipif(
    sys.version_info < (3, 14), reason="CPython 3.13 itself loses 1.7 MB with each interpreter"
)


@pytest.fixture
def growth(script, record_property):
    """Run a program of `measure.py` so often in a process of its own; give the megabytes lost."""

    def growth(name, count):
        code = PROGRAM.read_text()
        rc, out, err = script(code, args=(name, str(count)), timeout=3600)
        assert (rc, err) == (0, "")
        figures = json.loads(out)
        record_property("figures", figures)
        print(name, count, figures)
        assert figures["lent"] == 0
        return figures["growth"]

    return growth


@none_left
@pytest.mark.slow
def test_pools_that_come_and_go(growth, times):
    """An interpreter that is closed must leave nothing."""
    count = len(times(30, long=1000))
    assert growth("cycles", count) < (2 if count < 100 else 10)


@none_left
@pytest.mark.slow
@pytest.mark.parametrize(("name", "few"), [("h11", 6), ("hypercorn", 1), ("django", 0)])
@pytest.mark.timeout(1200)
def test_interpreters_that_have_imported_much(growth, times, name, few):
    """Each that had imported h11 left 3.4 MB, one that had run hypercorn more."""
    count = len(times(few, long=100))
    if not count:
        pytest.skip("with --long only: it takes a second each time")
    assert growth(name, count) < (4 if count < 100 else 10)


@none_left
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_tasks(growth, times):
    """Of all kinds: values, functions by value, exceptions, buffers, output, timeouts, ..."""
    count = len(times(10_000, long=1_000_000))
    assert growth("tasks", count) < (6 if count < 100_000 else 10)


def test_lent_buffers_are_counted(pool, gate):
    """Or the count above says nothing."""
    eventually(lambda: not _lent_buffers(), "the release of all")
    held = pool.submit(tasks.block, *gate.fds)
    gate.wait()
    views = [memoryview(bytearray(10)) for _ in range(5)]
    futures = [pool.submit(len, view) for view in views]
    assert _lent_buffers() == 5
    assert futures[0].cancel()
    assert _lent_buffers() == 4
    gate.open()
    assert held.result() == "released"
    assert [future.result() for future in futures[1:]] == [10] * 4
    eventually(lambda: not _lent_buffers(), "the release of all")
