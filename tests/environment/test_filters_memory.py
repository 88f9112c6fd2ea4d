"""Filters of warnings that a worker has from main, at the end of its interpreter."""


def test_filters_do_not_keep_the_interpreters_memory(check):
    """One with a pattern, as numpy sets it, cost 2 MB for each interpreter that was closed."""
    out = check("""
import tasks, warnings
from soak import megabytes
from subpool import InterpreterPoolExecutor

def live():
    with InterpreterPoolExecutor(1) as pool:
        pool.submit(tasks.nothing).result()

warnings.filterwarnings("ignore", message="a pattern")
for _ in range(2):
    live()
before = megabytes()
for _ in range(6):
    live()
print(megabytes() - before)
""")
    assert float(out) < 6
