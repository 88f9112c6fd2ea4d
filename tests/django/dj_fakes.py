"""A pool, a store and records for tests of the dispatcher: nothing runs but what the test says."""

from concurrent.futures import Future

from subpool.integrations.django.config import Config, Options, Site
from subpool.integrations.django.pools import Pools
from subpool.integrations.django.stores import Record
from subpool.integrations.django.stores.memory import MemoryStore
from support import eventually

CONFIG = Config("own", Options(max_interpreters=1), frozenset({"default"}), Site(None, {}, {}))


class Call(Future):
    """A call of a pool, which the test ends."""

    interrupted = False

    def interrupt(self):
        self.interrupted = True


class FakePools(Pools):
    """Interpreters that do what the test says."""

    def __init__(self, config, width):
        super().__init__(config, width)
        self.calls = {}
        self.ended = False

    def submit(self, claimant, record_id, record):
        self.calls[record_id] = Call()
        self.calls[record_id].set_running_or_notify_cancel()
        return self.calls[record_id]

    def warm_up(self):
        pass

    def take_all(self):
        self.ended = True
        return []


class LeasedStore(MemoryStore):
    """One whose claims run out, as the database's."""

    lease = 60.0
    poll_interval = 60.0

    def __init__(self):
        super().__init__()
        self.released = []
        self.looks = self.writes = 0

    def release(self, record_ids, claimant):
        self.released += record_ids
        self.writes += 1
        super().release(record_ids, claimant)

    def next_due(self, queues):
        self.looks += 1
        return super().next_due(queues)

    def open_count(self):
        return 0  # it says what ends with the process


def with_fakes(one):
    one._pools = FakePools(one.config, one.width)
    return one


def record(name, **more):
    return Record(id=name, task="dj_app.tasks.echo", backend="default", **more)


def runs(one, name):
    eventually(lambda: name in one._pools.calls, f"task {name} with the pool")
    return one._pools.calls[name]
