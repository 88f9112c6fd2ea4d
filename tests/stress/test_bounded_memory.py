"""`max_pending` keeps a producer that is faster than its workers from eating the memory."""

import pytest

import tasks
from subpool import InterpreterPoolExecutor
from support import eventually, megabytes


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_submits(request):
    """Each submit left something behind, or the bound let more in than it says."""
    calls = 10_000_000 if request.config.getoption("long") else 60_000
    counted = 0

    def count(_future):
        nonlocal counted
        counted += 1

    with InterpreterPoolExecutor(2, max_pending=1000) as pool:
        submit, fn = pool.submit, tasks.nothing
        for _ in range(5000):
            submit(fn)
        before = most = megabytes()
        for number in range(calls):
            future = submit(fn)
            if number % 1000 == 0:
                future.add_done_callback(count)
            if number % (calls // 20) == 0:
                most = max(most, megabytes())
        del future
        most = max(most, megabytes())
    eventually(lambda: counted == -(-calls // 1000), "the callbacks")
    assert pool.stats()[:2] == (calls + 5000, 0)
    print(f"{calls} submits: {before:.1f} MB before, {most:.1f} MB at most")
    assert most < before + 10
