"""What a task is to a store, and what a store does.

This module and the memory store know nothing of Django: they also serve a main interpreter that has
not set it up, where only the interpreters have (`subpool serve`).

Guarantees that each store gives: what `add` has accepted is claimed by one claimant at a time;
among what is due, the highest priority comes first, then what has been due for longest (since its
`run_after`, or since `add`), then the order of `add`; a claim that has ended elsewhere can neither
begin nor finish its task.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from subpool.integrations.django.config import Options

# The values of `django.tasks.TaskResultStatus`.
READY, RUNNING, FAILED, SUCCESSFUL = "READY", "RUNNING", "FAILED", "SUCCESSFUL"


class Failure(NamedTuple):
    """One attempt's error: what Django's `TaskError` holds."""

    exception_class_path: str
    traceback: str


class Outcome(NamedTuple):
    """How an attempt ended: with a value that JSON can hold, or with a failure."""

    value: Any = None
    failure: Failure | None = None

    @property
    def status(self) -> str:
        """What Django calls it."""
        return SUCCESSFUL if self.failure is None else FAILED


class StoreUnavailable(Exception):  # noqa: N818 - as the standard library's BlockingIOError
    """The store does not answer now; it may again."""


@dataclass(slots=True, kw_only=True)
class Record:
    """One enqueued task and its result.

    Plain data: it travels between interpreters. Times are aware and in UTC, whatever `USE_TZ` says.
    `args`, `kwargs` and `return_value` are what `json.loads` gives.
    """

    id: str
    task: str  # Where `import_string` finds the Task: module and qualified name.
    backend: str  # The alias in TASKS.
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    queue: str = "default"
    priority: int = 0
    run_after: datetime | None = None
    takes_context: bool = False

    status: str = READY
    enqueued_at: datetime | None = None
    started_at: datetime | None = None  # of the first attempt
    last_attempted_at: datetime | None = None
    finished_at: datetime | None = None
    errors: list[Failure] = field(default_factory=list)
    worker_ids: list[str] = field(default_factory=list)  # one for each attempt
    return_value: Any = None

    @property
    def is_finished(self) -> bool:
        """Whether the task will not run again."""
        return self.status in (FAILED, SUCCESSFUL)

    def copy(self) -> Record:
        """Give one that shares nothing that can change."""
        return replace(
            self,
            args=_copied(self.args),
            kwargs=_copied(self.kwargs),
            return_value=_copied(self.return_value),
            errors=list(self.errors),
            worker_ids=list(self.worker_ids),
        )

    def begin(self, worker: str, now: datetime) -> None:
        """Note that an attempt begins."""
        self.status = RUNNING
        self.started_at = self.started_at or now
        self.last_attempted_at = now
        self.worker_ids.append(worker)

    def finish(self, outcome: Outcome, now: datetime) -> None:
        """Note how the last attempt ended."""
        self.status = outcome.status
        self.finished_at = now
        if outcome.failure is None:
            self.return_value = outcome.value
        else:
            self.errors.append(outcome.failure)


def _copied(value: Any) -> Any:
    # `deepcopy` of what JSON holds, in a fifth of the time.
    kind = type(value)
    if kind is list:
        return [_copied(item) for item in value]
    if kind is dict:
        return {name: _copied(item) for name, item in value.items()}
    return value


def utc_now() -> datetime:
    """Give the time as records have it."""
    return datetime.now(UTC)


class Store(Protocol):
    """Where records are. All methods may be called from any thread.

    A *claimant* is a dispatcher: one per alias and process, with a name that no other has. The
    dispatcher, in main, calls `claim`, `renew`, `release`, `next_due` and `close`; `add`, `get`,
    `begin` and `finish` are called where tasks are enqueued and run, in interpreters too.

    All but `add` and `get` raise `StoreUnavailable` if the store does not answer.
    """

    # Seconds after which the dispatcher asks again, since others may add records. None: whoever
    # adds one wakes the dispatcher.
    poll_interval: float | None
    # Seconds after which a claim that is not renewed is another's to take. None: it cannot be lost.
    lease: float | None

    def add(self, record: Record) -> None:
        """Take a new record, and set its `enqueued_at`."""

    def get(self, record_id: str) -> Record | None:
        """Give a copy of the record as it is now."""

    def claim(self, queues: Collection[str] | None, limit: int, claimant: str) -> list[Record]:
        """Take at most `limit` records that are due, of these queues (None: of all)."""

    def begin(self, record_id: str, claimant: str, worker: str) -> Record | None:
        """Note that a worker begins a claimed task; None if the claim has been lost."""

    def renew(self, record_ids: Collection[str], claimant: str) -> set[str]:
        """Prolong the leases of claims; give those that are not lost to others, or deleted."""

    def finish(self, record_id: str, claimant: str, outcome: Outcome) -> Record | None:
        """Note how a task ended; None if the claim has been lost: then nothing is noted."""

    def release(self, record_ids: Iterable[str], claimant: str) -> None:
        """Give back claims, for others to take: tasks that have not begun, or were cut off."""

    def next_due(self, queues: Collection[str] | None) -> datetime | None:
        """Tell when the next record can be claimed; None if none waits."""

    def follow(self, options: Options) -> None:
        """Keep to other options from now on."""

    def close(self) -> None:
        """Let go of what belongs to this process: connections, threads."""
