"""The memory store of main, as interpreters see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from subpool._questions import ask

if TYPE_CHECKING:
    from typing import Any

    from subpool.integrations.django.config import Config
    from subpool.integrations.django.stores import Outcome, Record

_MAIN = "subpool.integrations.django.registry"


class RemoteStore:
    """Asks main. Claims are main's own business."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def add(self, record: Record) -> None:
        """Take a new record, and see that it runs."""
        taken: Record = ask(_MAIN, "add_from_interpreter", self._config, record)
        record.enqueued_at = taken.enqueued_at

    def get(self, record_id: str) -> Record | None:
        """Give a copy of the record as it is now."""
        return self._call("get", record_id)

    def begin(self, record_id: str, claimant: str, worker: str) -> Record | None:
        """Note that a worker begins a claimed task."""
        return self._call("begin", record_id, claimant, worker)

    def finish(self, record_id: str, claimant: str, outcome: Outcome) -> Record | None:
        """Note how a task ended."""
        return self._call("finish", record_id, claimant, outcome)

    def _call(self, method: str, *args: Any) -> Record | None:
        found: Record | None = ask(_MAIN, "call_store", self._config.alias, method, *args)
        return found


def wake(config: Config) -> None:
    """Have main's dispatcher look for tasks."""
    ask(_MAIN, "wake_from_interpreter", config)
