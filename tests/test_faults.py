"""The fault list (bench/faults.py): subpool does what is right in each."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "bench"))

import faults
from fault_programs import FAULTS

# CPython 3.13 itself loses 1.7 MB with each interpreter.
LEAKS = sys.version_info < (3, 14)
BY_NAME = {
    fault.what: fault
    for fault in FAULTS
    if not (LEAKS and any(name in fault.code for name in faults.ROUNDS))
}


@pytest.fixture(scope="module")
def outcomes(request):
    """Run the chosen ones, as many at a time as there are cores."""
    items = [item for item in request.session.items if item.path == request.path]
    names = [item.callspec.params["name"] for item in items if hasattr(item, "callspec")]
    with ThreadPoolExecutor(os.process_cpu_count()) as side_by_side:
        yield {
            name: side_by_side.submit(faults.run, BY_NAME[name], "subpool", short=True)
            for name in names
        }
        side_by_side.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_fault(outcomes, name):
    """What it says is right is what it does."""
    found = outcomes[name].result(100)
    assert found.right, found.saw


def test_what_a_peer_prints_is_judged():
    """A warning left over after Ctrl-C, or another exit code, was taken for right."""
    fault = BY_NAME["Ctrl-C while the end waits for a call in C"]
    interrupted = "Traceback (most recent call last):\n  File x\nKeyboardInterrupt: \n"

    def judged(rc, err, out="right\n", took=0.1):
        return faults.judged(fault, faults.Outcome(rc, out, err), took, 1.0)

    assert judged(130, interrupted).right
    assert judged(0, interrupted + "left\n") == (False, "prints: left")
    assert judged(-11, interrupted) == (False, "dies of SIGSEGV")
    assert judged(1, interrupted) == (False, "exit code 1")
    assert judged(0, "", out="right\nwrong: so\n") == (False, "so")
    assert judged(0, interrupted, out="") == (False, "nothing")
    assert judged(0, interrupted, took=2.0) == (False, "ends after 2.0 s")
