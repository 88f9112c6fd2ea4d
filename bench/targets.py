"""What issues 3 and 4 promise for two cores and CPython 3.14, judged from one run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cases import MIB, OURS, STANDARD, payload_name
from results import Results, Spread, quantity, times

if TYPE_CHECKING:
    from collections.abc import Callable

SUBPOOL, SUBPOOL_THREADS = OURS
STDLIB, THREADS, PROCESSES = STANDARD
BIG = 100 * MIB


@dataclass(frozen=True)
class Target:
    """`met` is None where the run cannot tell."""

    what: str
    against: str
    wanted: str
    seen: str
    met: bool | None

    @property
    def verdict(self) -> str:
        return {True: "met", False: "MISSED", None: "not judged"}[self.met]


def targets(results: Results) -> list[Target]:
    usable = results.where["usable_cpus"] or 1
    if results.settings.workers != 2 or usable < 2:
        why = f"for 2 workers on 2 CPUs, not {results.settings.workers} on {usable}"
        return [Target("all", "", "", why, None)]
    judge = _Judge(results)
    in_, dict_ = (
        lambda kind: payload_name("in", kind, BIG),
        lambda kind: payload_name("dict", kind, BIG),
    )
    return [
        judge.faster("burst submit + result of add(i, i)", "burst", STDLIB, 60, aim="aim 100"),
        judge.faster("burst submit + result of add(i, i)", "burst", THREADS, 5),
        judge.faster("round trip", "round trip", STDLIB, 25),
        judge.faster("map of tiny calls", "map", STDLIB, 80),
        judge.no_op("memoryview 100 MiB in", in_("memoryview"), "in/nothing", 4),
        judge.no_op("the same in a dict", dict_("memoryview"), "dict/nothing", 4),
        judge.faster("bytearray 100 MiB in", in_("bytearray"), STDLIB, 15),
        judge.faster("array.array 100 MiB in", in_("array"), STDLIB, 10),
        judge.faster("bytes 100 MiB in", in_("bytes"), STDLIB, 1.3),
        judge.faster("bytes 100 MiB in a dict", dict_("bytes"), STDLIB, 6),
        judge.faster("list of 100k ints there and back", "ints", STDLIB, 4),
        judge.faster("list of 100k ints there and back", "ints", PROCESSES, 1.5),
        judge.faster("start-up, 2 workers, to first result", "first result", STDLIB, 3),
        judge.faster("start-up, 2 workers, to first result", "first result", PROCESSES, 6),
        judge.memory("memory per extra worker", "memory", 0.6),
        judge.efficiency("efficiency, 5 ms tasks", "efficiency 5 ms", 0.95),
        judge.efficiency(
            "efficiency, 50 \N{MICRO SIGN}s tasks", "efficiency 50 \N{MICRO SIGN}s", 0.85
        ),
        judge.idle("idle pool", "idle", 0.01),
        judge.faster("gather of 20k run calls", "gather", STDLIB, 20),
        judge.faster("gather of 20k run calls", "gather", THREADS, 4),
        judge.faster("await run, one at a time", "await", STDLIB, 5),
        judge.faster("gather of to_thread", "gather", STDLIB, 5, ours=("to_thread", SUBPOOL)),
        judge.faster(
            "gather of to_thread, tagged", "gather", STDLIB, 5, ours=("to_thread", SUBPOOL_THREADS)
        ),
    ]


class _Judge:
    def __init__(self, results: Results) -> None:
        self.results = results
        self.labels = {peer.key: peer.label for peer in results.peers}

    def judged(
        self,
        what: str,
        against: str,
        wanted: str,
        ours: tuple[str, str],  # measurement and pool
        seen: Spread | None,
        *,
        show: Callable[[float], str],
        met: Callable[[float], bool],
        note: str = "",
    ) -> Target:
        if seen is None:
            # What subpool refuses it misses; what was not measured cannot be judged.
            refused = self.results.missing(*ours)
            verdict = False if refused else None
            return Target(what, against, wanted, refused or "not measured", verdict)
        text = show(seen.median)
        if seen.least < seen.greatest:
            text += f" ({show(seen.least)} to {show(seen.greatest)})"
        return Target(what, against, wanted, f"{text}{note}", met(seen.median))

    def faster(
        self,
        what: str,
        name: str,
        peer: str,
        least: float,
        *,
        aim: str = "",
        ours: tuple[str, str] | None = None,
    ) -> Target:
        """`ours`: our measurement and pool, where that is another than theirs and `subpool`."""
        against, (our_name, our_key) = self.labels.get(peer, peer), ours or (name, SUBPOOL)
        if our_name != name:
            against += f", {name}"
        return self.judged(
            what,
            against,
            f"at least {least:g}\N{MULTIPLICATION SIGN}" + (f", {aim}" if aim else ""),
            (our_name, our_key),
            self.results.compared((name, peer), (our_name, our_key)),
            show=times,
            met=lambda seen: seen >= least,
        )

    def no_op(self, what: str, name: str, reference: str, most: float) -> Target:
        return self.judged(
            what,
            "our own no-op round trip",
            f"at most {most:g}\N{MULTIPLICATION SIGN}",
            (name, SUBPOOL),
            self.results.ratio_within(name, reference, SUBPOOL),
            show=lambda seen: times(seen, up=True),
            met=lambda seen: seen <= most,
        )

    def memory(self, what: str, name: str, most: float) -> Target:
        return self.judged(
            what,
            self.labels.get(STDLIB, STDLIB),
            f"at most {most:g}\N{MULTIPLICATION SIGN}",
            (name, SUBPOOL),
            self.results.ratio(name, SUBPOOL, STDLIB),
            show=lambda seen: times(seen, up=True),
            met=lambda seen: seen <= most,
        )

    def efficiency(self, what: str, name: str, least: float) -> Target:
        limit = self.results.spread(name, "bare")
        return self.judged(
            what,
            "ideal 2 cores",
            f"at least {100 * least:g} %",
            (name, SUBPOOL),
            self.results.spread(name, SUBPOOL),
            show=lambda seen: quantity(seen, "share"),
            met=lambda seen: seen >= least,
            note=f"; bare processes {quantity(limit.median, 'share')}" if limit else "",
        )

    def idle(self, what: str, name: str, below: float) -> Target:
        return self.judged(
            what,
            "one core",
            f"under {100 * below:g} %",
            (name, SUBPOOL),
            self.results.spread(name, SUBPOOL),
            show=lambda seen: quantity(seen, "cpu"),
            met=lambda seen: seen < below,
        )
