"""CPython's own tests of `threading.Event`, `threading.Lock` and `queue.Queue`, on ours."""

import queue
import unittest

import pytest

import subpool

lock_tests = pytest.importorskip("test.lock_tests")
test_queue = pytest.importorskip("test.test_queue")

pytestmark = pytest.mark.filterwarnings("default")


class EventTest(lock_tests.EventTests):
    eventtype = staticmethod(subpool.Event)
    test_at_fork_reinit = None  # of the standard class's inside


class LockTest(lock_tests.LockTests):
    locktype = staticmethod(subpool.Lock)
    test_at_fork_reinit = None
    # It wants an OverflowError for what is too long for a clock; ours waits, as an Event does.
    test_timeout = None


class QueueTest(test_queue.BaseQueueTestMixin, unittest.TestCase):
    queue = queue
    type2test = subpool.Queue
    test_shrinking_queue = None  # it sets `maxsize`
