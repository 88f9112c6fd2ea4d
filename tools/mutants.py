#!/usr/bin/env python3
"""Break each protocol of the core on purpose, and see its model fail (`make test-mutants`).

A model that passes whatever the code does proves nothing. Each row below names a file of src/core,
what to change in it, and the models of which one at least must then fail. Works on a copy below
target/. A row whose text is not in its file any more is an error, so the list stays true.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "target" / "mutants"
# A broken protocol may well run for ever.
LIMIT = 600


class Mutant(NamedTuple):
    what: str
    file: str
    old: str
    new: str
    models: tuple[str, ...]


MUTANTS = [
    Mutant(
        "a sleeper is let in after the end",
        "state.rs",
        "(!Phase::of(word).is_done()).then_some(word | flag)",
        "Some(word | flag)",
        ("a_waiter_wakes_and_sees_the_answer", "a_listener_is_either_refused_or_seen"),
    ),
    Mutant(
        "the end publishes nothing",
        "state.rs",
        "fetch_xor(0b11, Ordering::AcqRel)",
        "fetch_xor(0b11, Ordering::Relaxed)",
        ("a_waiter_wakes_and_sees_the_answer",),
    ),
    Mutant(
        "a cancelled task starts",
        "state.rs",
        "(word & PHASE == 0).then_some(word | 1)",
        "Some(word & !PHASE | 1)",
        ("a_task_is_started_or_cancelled",),
    ),
    Mutant(
        "the flag is raised before the list is locked",
        "latch.rs",
        """        let mut sleepers = self.sleepers.lock();
        if !self.state.park() {
            return false;
        }
""",
        """        if !self.state.park() {
            return false;
        }
        let mut sleepers = self.sleepers.lock();
""",
        ("a_waiter_wakes_and_sees_the_answer",),
    ),
    Mutant(
        "a push looks for sleepers without a fence",
        "sleepers.rs",
        """        fence(Ordering::SeqCst);
        // Relaxed: the fence orders it.
        let word = self.word.load(Ordering::Relaxed);
""",
        """        let word = self.word.load(Ordering::Relaxed);
""",
        ("a_push_reaches_a_worker_that_goes_to_sleep", "two_items_reach_two_workers"),
    ),
    Mutant(
        "no look between bed and sleep",
        "sleepers.rs",
        "if !quiet() && self.leave(&looker.bed)",
        "if quiet() && false && self.leave(&looker.bed)",
        ("a_push_reaches_a_worker_that_goes_to_sleep",),
    ),
    Mutant(
        "who found an item wakes nobody for the next",
        "sleepers.rs",
        "for _ in 0..2 {",
        "for _ in 0..0 {",
        ("two_items_reach_two_workers", "two_pushers_reach_two_workers"),
    ),
    Mutant(
        "a close while pushes are under way",
        "queue.rs",
        "            let _gate = self.gate.write();\n",
        "",
        ("what_was_accepted_is_drained", "a_shutdown_waits_for_all_that_was_accepted"),
    ),
    Mutant(
        "a close wakes nobody",
        "queue.rs",
        "        self.sleepers.wake_all();\n",
        "",
        ("a_close_reaches_a_worker_that_goes_to_sleep",),
    ),
    Mutant(
        "the end is read before the last item",
        "queue.rs",
        "self.store.pop().ok_or(Empty::ForGood)",
        "Err(Empty::ForGood)",
        ("a_close_reaches_all_and_loses_nothing", "a_shutdown_waits_for_all_that_was_accepted"),
    ),
    Mutant(
        "the bell is answered without reading the posts",
        "mailbox.rs",
        "self.rung.swap(false, Ordering::AcqRel);\n    }",
        "self.rung.store(false, Ordering::Relaxed);\n    }",
        ("no_post_stays_behind_unannounced",),
    ),
    Mutant(
        "a worker leaves without a fence",
        "stats.rs",
        "        fence(Ordering::SeqCst);\n",
        "",
        ("a_leaving_worker_leaves_no_task_alone",),
    ),
    Mutant(
        "ends are counted without their beginnings",
        "stats.rs",
        "self.ended.fetch_add(1, Ordering::Release);",
        "self.ended.fetch_add(1, Ordering::Relaxed);",
        ("no_more_tasks_end_than_were_accepted",),
    ),
    Mutant(
        "nobody notes that the exception was sent",
        "window.rs",
        "        running.sent = true;\n",
        "",
        ("an_interrupt_hits_its_task_or_none",),
    ),
    Mutant(
        "whatever runs is interrupted",
        "window.rs",
        "place.as_mut().filter(|running| which(&running.job))",
        "place.as_mut().filter(|running| which(&running.job) || true)",
        ("an_interrupt_hits_its_task_or_none",),
    ),
    Mutant(
        "a task starts before its entry's lock",
        "window.rs",
        """        let mut place = self.0.lock();
        // Under the lock: who forbids it looks here after that (`Ban`), and who sees it running
        // takes the lock after the entry was made.
        let Some(call) = start(&job) else {
            return Err(job);
        };
""",
        """        let Some(call) = start(&job) else {
            return Err(job);
        };
        let mut place = self.0.lock();
""",
        ("nothing_starts_after_terminate",),
    ),
    Mutant(
        "the helper raises whether it was asked to or not",
        "window.rs",
        "place.as_mut().filter(|running| running.due)",
        "place.as_mut()",
        ("an_interrupt_hits_its_task_or_none",),
    ),
    Mutant(
        "the ring is forgotten after the visit",
        "reach.rs",
        """            if self.rung.swap(false, Ordering::Acquire) {
                act();
""",
        """            if self.rung.load(Ordering::Acquire) {
                act();
                self.rung.swap(false, Ordering::AcqRel);
""",
        ("an_interrupt_reaches_a_task_that_runs_on",),
    ),
    Mutant(
        "the helper is not woken",
        "reach.rs",
        """                helper.bell.rung.swap(true, Ordering::Release);
                helper.thread.thread().unpark();
""",
        """                helper.bell.rung.swap(true, Ordering::Release);
""",
        ("an_interrupt_reaches_a_task_that_runs_on",),
    ),
    Mutant(
        "a reach that was never rung for stays open",
        "reach.rs",
        "        let stage = std::mem::replace(&mut *self.0.lock(), Stage::Closed);\n",
        """        let mut place = self.0.lock();
        if matches!(*place, Stage::Open(_)) {
            return None;
        }
        let stage = std::mem::replace(&mut *place, Stage::Closed);
""",
        ("no_helper_outlives_its_interpreter",),
    ),
    Mutant(
        "the helper does not learn of the end",
        "reach.rs",
        """        helper.bell.closing.store(true, Ordering::Release);
        helper.thread.thread().unpark();
""",
        """        helper.bell.closing.store(true, Ordering::Release);
""",
        ("no_helper_outlives_its_interpreter", "an_interrupt_hits_its_task_or_none"),
    ),
    Mutant(
        "the second answer overwrites the first",
        "slot.rs",
        "matches!(*place, Content::Answer(_)) || state.phase()",
        "state.phase()",
        ("a_task_that_is_given_up_ends_once",),
    ),
    Mutant(
        "an answer that was fetched makes room for another",
        "slot.rs",
        "matches!(*place, Content::Answer(_)) || state.phase() != Phase::Running",
        "matches!(*place, Content::Answer(_))",
        ("a_task_that_is_given_up_ends_once",),
    ),
    Mutant(
        "a time is named and nobody woken",
        "alarm.rs",
        "        earlier\n    }",
        "        false\n    }",
        ("what_is_due_is_looked_at",),
    ),
    Mutant(
        "the warden's end is not looked at",
        "alarm.rs",
        "        if self.closing {\n",
        "        if self.closing && self.next.is_some() {\n",
        ("the_warden_learns_of_its_end",),
    ),
]


def run(models: tuple[str, ...]) -> tuple[int, str]:
    env = {**os.environ, "RUSTFLAGS": "--cfg loom -C opt-level=2", "RUST_BACKTRACE": "0"}
    command = ["cargo", "test", "--locked", "--no-default-features", "--lib"]
    command += ["--target-dir", str(ROOT / "target" / "loom"), "--", *models]
    try:
        done = subprocess.run(
            command, cwd=COPY, env=env, text=True, capture_output=True, timeout=LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        return 1, "runs for ever"
    return done.returncode, done.stdout + done.stderr


def try_mutant(mutant: Mutant) -> str:
    """Say why the mutant lives, or nothing."""
    path = COPY / "src" / "core" / mutant.file
    good = path.read_text()
    if good.count(mutant.old) != 1:
        return f"its text stands {good.count(mutant.old)} times in {mutant.file}"
    path.write_text(good.replace(mutant.old, mutant.new))
    try:
        status, output = run(mutant.models)
    finally:
        path.write_text(good)
    if "could not compile" in output:
        return "it does not compile:\n" + output[-2000:]
    if status == 0:
        return "all of its models pass"
    failed = re.findall(r"^test (\S+) \.\.\. FAILED", output, re.MULTILINE)
    print("    " + ", ".join(name.rpartition("::")[2] for name in failed or [output[-200:]]))
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("only", nargs="?", default="", help="rows whose file or text has this")
    only = parser.parse_args().only
    shutil.rmtree(COPY, ignore_errors=True)
    COPY.mkdir(parents=True)
    for name in ("Cargo.toml", "Cargo.lock"):
        shutil.copy(ROOT / name, COPY / name)
    for name in ("src", "benches"):
        shutil.copytree(ROOT / name, COPY / name)
    alive = 0
    chosen = [mutant for mutant in MUTANTS if only in f"{mutant.file} {mutant.what}"]
    for mutant in chosen:
        begun = time.monotonic()
        print(f"{mutant.file}: {mutant.what}", flush=True)
        if why := try_mutant(mutant):
            alive += 1
            print(f"    LIVES: {why}")
        else:
            print(f"    dead after {time.monotonic() - begun:.0f} s", flush=True)
    print(f"{len(chosen) - alive} of {len(chosen)} mutants are dead")
    return bool(alive)


if __name__ == "__main__":
    sys.exit(main())
