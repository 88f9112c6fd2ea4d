"""Ways to break the core's protocols, each with the models that must notice (`mutants.py`)."""

from __future__ import annotations

from typing import NamedTuple


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
        """            self.closed.store(true, Ordering::Release);
        }
        self.sleepers.wake_all();
""",
        """            self.closed.store(true, Ordering::Release);
        }
""",
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
        "filter(|running| running.due && !running.moving)",
        "filter(|running| !running.moving)",
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
    Mutant(
        "a pause wakes nobody",
        "queue.rs",
        """        self.paused.store(true, Ordering::Release);
        self.sleepers.wake_all();
""",
        """        self.paused.store(true, Ordering::Release);
""",
        ("a_pause_reaches_a_worker_that_goes_to_sleep",),
    ),
    Mutant(
        "who pauses drops what was put in",
        "queue.rs",
        "Err(Empty::ForNow) => self.is_paused().then_some(None),",
        """Err(Empty::ForNow) => self.is_paused().then(|| {
                    drop(self.store.pop());
                    None
                }),""",
        ("a_pause_loses_nothing",),
    ),
    Mutant(
        "a post rings no bell that was answered",
        "mailbox.rs",
        "self.rung.swap(false, Ordering::AcqRel);\n    }",
        "self.rung.load(Ordering::Acquire);\n    }",
        ("a_post_to_a_closed_mailbox_is_taken_or_known",),
    ),
    Mutant(
        "a cancelled task starts, while the pool ends",
        "state.rs",
        "(word & PHASE == 0).then_some(word | 1)",
        "Some(word & !PHASE | 1)",
        ("a_shutdown_that_cancels_ends_each_task_once",),
    ),
    Mutant(
        "a push gets past the close of a pool that breaks",
        "queue.rs",
        "            let _gate = self.gate.write();\n",
        "",
        ("a_pool_that_breaks_fails_what_nobody_runs",),
    ),
    Mutant(
        "who lines up does not look for a place again",
        "entrance.rs",
        """            turn,
        }));
        self.advance(&mut line, admit);
""",
        """            turn,
        }));
        let _ = admit;
""",
        ("who_lines_up_gets_in", "a_thread_in_line_is_woken"),
    ),
    Mutant(
        "places that were free as the line began are forgotten",
        "entrance.rs",
        "line.gathered = self.word.swap(LINE, Ordering::Relaxed) / PLACE;",
        "self.word.swap(LINE, Ordering::Relaxed);",
        ("who_lines_up_gets_in", "no_place_is_lost_or_made"),
    ),
    Mutant(
        "a place goes to a line that has gone",
        "entrance.rs",
        """        if line.waiting.is_empty() {
            // It was let in meanwhile""",
        """        if false {
            // It was let in meanwhile""",
        ("no_place_is_lost_or_made", "who_lines_up_gets_in"),
    ),
    Mutant(
        "a thread is told before it is in",
        "entrance.rs",
        """                admit(entry.item);
                settle(entry.turn, true);
            }
        }
""",
        """                settle(entry.turn, true);
                admit(entry.item);
            }
        }
""",
        ("a_thread_in_line_is_woken",),
    ),
    Mutant(
        "the line goes on although nobody left",
        "entrance.rs",
        """                let Some(left) = line.gathered.checked_sub(entry.places) else {
                    return;
                };
                line.gathered = left;
""",
        """                line.gathered = line.gathered.saturating_sub(entry.places);
""",
        ("two_in_line_get_in_one_after_the_other",),
    ),
    Mutant(
        "who steps out gives back places that it never had",
        "entrance.rs",
        "        while let Some(None) = line.waiting.back() {",
        """        line.gathered += entry.places;
        while let Some(None) = line.waiting.back() {""",
        ("who_steps_out_is_not_let_in",),
    ),
    Mutant(
        "a close lets in and refuses",
        "entrance.rs",
        "settle(entry.turn, false);",
        "settle(entry.turn, true);",
        ("who_waits_is_let_in_or_refused",),
    ),
    Mutant(
        "who waits for an event looks before the lock",
        "shared/event.rs",
        """        let mut line = self.line.lock();
        // Relaxed: written under this lock; what was done before a `set`, that shows, too.
        let waits = !self.set.load(Ordering::Relaxed);
""",
        """        let waits = !self.set.load(Ordering::Relaxed);
        let mut line = self.line.lock();
""",
        ("a_set_reaches_who_begins_to_wait",),
    ),
    Mutant(
        "a set leaves who waits to look at the flag",
        "shared/event.rs",
        "end_all(&mut line, CALLED)",
        "std::mem::take(&mut *line)",
        ("a_flag_that_is_cleared_at_once_has_called_those_who_waited",),
    ),
    Mutant(
        "the flag shows nothing else",
        "shared/event.rs",
        "self.set.load(Ordering::Acquire)",
        "self.set.load(Ordering::Relaxed)",
        ("who_sees_the_flag_sees_what_came_before",),
    ),
    Mutant(
        "an item goes past who waits for one",
        "shared/channel.rs",
        "self.getters.pop_front()",
        "self.getters.pop_front().filter(|_| false)",
        ("a_put_reaches_who_begins_to_get",),
    ),
    Mutant(
        "a getter stays in line with its item",
        "shared/channel.rs",
        "self.getters.pop_front()",
        "self.getters.front().cloned()",
        ("each_item_goes_to_one_getter",),
    ),
    Mutant(
        "a get lets nobody in",
        "shared/channel.rs",
        "&& let Some(putter) = self.putters.pop_front()",
        "&& let Some(putter) = self.putters.pop_front().filter(|_| false)",
        ("a_get_lets_a_putter_in",),
    ),
    Mutant(
        "what a getter was given and does not want is lost",
        "shared/channel.rs",
        "self.give_back(item);",
        "drop(item);",
        ("who_gives_up_loses_no_item",),
    ),
    Mutant(
        "who leaves stays in line",
        "shared/channel.rs",
        "step_out(&mut inner.getters, turn)",
        "inner.getters.is_empty()",
        ("who_leaves_has_its_item_or_may_come_again",),
    ),
    Mutant(
        "what a putter had in its hand is lost",
        "shared/channel.rs",
        "self.items.push_back(waiting);",
        "drop(waiting);",
        ("who_gives_up_has_put_or_not",),
    ),
    Mutant(
        "a shutdown forgets the getters",
        "shared/channel.rs",
        "            called.extend(end_all(&mut inner.getters, REFUSED));\n",
        "",
        ("a_shutdown_reaches_getters_and_putters",),
    ),
    Mutant(
        "a shutdown drops what was accepted",
        "shared/channel.rs",
        "let dropped = if now {",
        "let dropped = if now || inner.shut {",
        ("a_shutdown_reaches_getters_and_putters",),
    ),
    Mutant(
        "what comes back to an emptied queue stays there",
        "shared/channel.rs",
        "if inner.emptied {",
        "if false {",
        ("a_shutdown_at_once_drops_what_comes_back",),
    ),
    Mutant(
        "the last item done calls nobody",
        "shared/channel.rs",
        "if self.unfinished == 0 {",
        "if self.unfinished == 1 {",
        ("a_join_ends_with_the_last_item",),
    ),
    Mutant(
        "a lock that is handed over is free for a moment",
        "shared/lock.rs",
        "inner.holder = next.as_ref().map(|turn| turn.place);",
        "inner.holder = None;",
        ("one_has_the_lock_at_a_time",),
    ),
    Mutant(
        "who gives up keeps the lock it was handed",
        "shared/lock.rs",
        "            let _ = self.release();\n",
        "",
        ("who_gives_up_leaves_the_lock_to_the_next",),
    ),
    Mutant(
        "who sleeps for a brief lock is not woken",
        "brief.rs",
        "word.swap(FREE, Ordering::Release) == WANTED",
        "word.swap(FREE, Ordering::Release) == HELD",
        ("who_sleeps_for_a_brief_lock_is_woken",),
    ),
    Mutant(
        "a brief lock that is let go of shows nothing",
        "brief.rs",
        "word.swap(FREE, Ordering::Release)",
        "word.swap(FREE, Ordering::Relaxed)",
        ("who_sleeps_for_a_brief_lock_is_woken",),
    ),
    Mutant(
        "who was woken for a brief lock knows of no others",
        "brief.rs",
        """    while word.swap(WANTED, Ordering::Acquire) != FREE {
        sleep(word, WANTED);
    }
""",
        """    let mut woken = false;
    while word.swap(if woken { HELD } else { WANTED }, Ordering::Acquire) != FREE {
        woken = !woken;
        if woken { sleep(word, WANTED); }
    }
""",
        ("who_sleeps_for_a_brief_lock_is_woken",),
    ),
    Mutant(
        "who will sleep looks before it can be disturbed",
        "rests.rs",
        """        let rest = self.enter(thread, what);
        look()?;
        Ok(rest)
""",
        """        look()?;
        Ok(self.enter(thread, what))
""",
        ("what_is_set_for_who_goes_to_sleep_gets_it_out",),
    ),
]
