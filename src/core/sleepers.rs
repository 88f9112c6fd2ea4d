//! Who looks for work and who sleeps: the idle protocol of one queue's workers.
//!
//! Guarantees: no task lies in the queue while every worker that is not working sleeps (*no lost
//! wake-up*); one task wakes one sleeper at most, and none when somebody looks already; to tell
//! that nobody needs waking costs one fence and one load.
//! Not guaranteed: which sleeper wakes, or that it finds anything: a worker that comes back from a
//! task may be quicker. `PROTOCOL.md`, "Sleeping workers", has the argument.

use super::idle::{self, Awake, Patience};
use super::sync::{
    Arc, AtomicBool, AtomicU32, CachePadded, Mutex, Ordering, Thread, fence, thread,
};

/// The word: lookers in the lower half, sleepers in the upper.
const LOOKER: u32 = 1;
const SLEEPER: u32 = 1 << 16;

const fn lookers(word: u32) -> u32 {
    word & (SLEEPER - 1)
}

const fn sleepers(word: u32) -> u32 {
    word >> 16
}

/// One worker's bed.
#[derive(Debug)]
struct Bed {
    woken: AtomicBool,
    thread: Thread,
}

impl Bed {
    fn wake(&self) {
        // Release: pairs with the acquire in `sleep`. A flag, because `park` also returns for
        // tokens that others left.
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }

    fn sleep(&self) {
        // Acquire: pairs with the release in `wake`.
        while !self.woken.load(Ordering::Acquire) {
            thread::park();
        }
    }
}

/// A worker, as its queue knows it: what it has learnt of looking, and where it sleeps.
///
/// Made and used on the worker's own thread, one for each queue it takes from.
#[derive(Debug)]
pub struct Looker {
    patience: Patience,
    bed: Arc<Bed>,
    /// `None` while it sleeps.
    awake: Option<Awake>,
}

impl Default for Looker {
    fn default() -> Self {
        Self::new()
    }
}

impl Looker {
    #[must_use]
    pub fn new() -> Self {
        Self {
            patience: Patience::new(),
            bed: Arc::new(Bed {
                woken: AtomicBool::new(false),
                thread: thread::current(),
            }),
            awake: Some(Awake::new()),
        }
    }
}

#[derive(Debug)]
pub struct Sleepers {
    /// Apart from what surrounds it: every push reads it.
    word: CachePadded<AtomicU32>,
    /// As many as the word's upper half says, whenever the lock is free. The last in is the first
    /// to be woken: its caches are the warmest.
    beds: Mutex<Vec<Arc<Bed>>>,
    most_lookers: u32,
}

impl Sleepers {
    #[must_use]
    pub fn new(most_lookers: u32) -> Self {
        Self {
            word: CachePadded::new(AtomicU32::new(0)),
            beds: Mutex::new(Vec::new()),
            most_lookers,
        }
    }

    /// Half of the CPUs: the other half has work to do, or there would be nothing to look for.
    #[must_use]
    pub fn most_lookers() -> u32 {
        u32::try_from(idle::cpus() / 2).map_or(SLEEPER - 1, |half| half.max(1))
    }

    /// After an item was put in: wakes a sleeper unless somebody looks.
    pub fn pushed(&self) {
        // SeqCst: pairs with the fences in `go_to_bed` and `found`. Of two threads, one of which
        // puts an item in and then reads the word, and the other writes the word and then looks at
        // the queue, at least one sees what the other wrote.
        fence(Ordering::SeqCst);
        // Relaxed: the fence orders it.
        let word = self.word.load(Ordering::Relaxed);
        if lookers(word) == 0 && sleepers(word) > 0 {
            self.wake(0);
        }
    }

    /// Wakes a sleeper if there is one and no more than `enough` look.
    fn wake(&self, enough: u32) -> bool {
        let mut beds = self.beds.lock();
        // Relaxed: sleepers change under the lock only; a looker more or less since then is one
        // that came after the item, and looks, or left, and looks once more.
        if lookers(self.word.load(Ordering::Relaxed)) > enough {
            return false;
        }
        let Some(bed) = beds.pop() else {
            return false;
        };
        // The woken one counts as a looker from now on, so that nobody wakes a second one for the
        // same item while it comes. Relaxed: as in `begin_to_look`.
        self.word
            .fetch_add(LOOKER.wrapping_sub(SLEEPER), Ordering::Relaxed);
        drop(beds);
        bed.wake();
        true
    }

    /// Wakes everybody, for an end that each must see.
    pub fn wake_all(&self) {
        let mut beds = self.beds.lock();
        let woken = std::mem::take(&mut *beds);
        for _ in &woken {
            // Relaxed: under the lock, and nobody but the woken looks for what comes with it.
            self.word
                .fetch_add(LOOKER.wrapping_sub(SLEEPER), Ordering::Relaxed);
        }
        drop(beds);
        for bed in woken {
            bed.wake();
        }
    }

    /// Waits until `ready` gives something: looks while that seems to pay and not too many look
    /// already, then sleeps.
    ///
    /// `queued` tells how many items there are; `quiet`, that there is none and no end either.
    /// `before_sleep` is called, without a lock, before each sleep.
    pub fn wait<T>(
        &self,
        looker: &mut Looker,
        mut ready: impl FnMut() -> Option<T>,
        queued: impl Fn() -> usize,
        quiet: impl Fn() -> bool,
        before_sleep: impl Fn(),
    ) -> T {
        let mut counted = self.begin_to_look();
        loop {
            if counted && let Some(found) = looker.patience.look(&mut ready) {
                self.found(queued);
                return found;
            }
            before_sleep();
            self.go_to_bed(looker, counted, &quiet);
            counted = true;
            if let Some(found) = ready() {
                self.found(queued);
                return found;
            }
        }
    }

    /// True: the caller counts as a looker.
    fn begin_to_look(&self) -> bool {
        // Relaxed: a pusher that sees the new count leaves its item to this thread, which looks at
        // the queue once more, behind a fence, when it ceases to look (`found`, `go_to_bed`).
        self.word
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                (lookers(word) < self.most_lookers).then_some(word + LOOKER)
            })
            .is_ok()
    }

    /// Sleeps until woken, or not at all if something came. The caller counts as a looker then.
    fn go_to_bed(&self, looker: &mut Looker, counted: bool, quiet: impl Fn() -> bool) {
        {
            let mut beds = self.beds.lock();
            // Relaxed: who wakes this bed takes it from the list, under the lock, after us.
            looker.bed.woken.store(false, Ordering::Relaxed);
            beds.push(Arc::clone(&looker.bed));
            let looked = if counted { LOOKER } else { 0 };
            // Relaxed: the fence below orders it.
            self.word.fetch_add(SLEEPER - looked, Ordering::Relaxed);
        }
        // SeqCst: pairs with the fence in `pushed`.
        fence(Ordering::SeqCst);
        if !quiet() && self.leave(&looker.bed) {
            return;
        }
        looker.awake = None;
        looker.bed.sleep();
        looker.awake = Some(Awake::new());
    }

    /// Takes a bed off the list. False: it has been taken already, and will be woken.
    fn leave(&self, bed: &Arc<Bed>) -> bool {
        let mut beds = self.beds.lock();
        let Some(place) = beds.iter().rposition(|other| Arc::ptr_eq(other, bed)) else {
            return false;
        };
        beds.remove(place);
        // Relaxed: as in `begin_to_look`.
        self.word
            .fetch_add(LOOKER.wrapping_sub(SLEEPER), Ordering::Relaxed);
        true
    }

    /// A looker found something and goes to work. Items that came while it looked were left to it,
    /// so it wakes others for what it leaves behind: two, so that a crowd is up in a few steps.
    fn found(&self, queued: impl Fn() -> usize) {
        // Relaxed: the fence orders it.
        self.word.fetch_sub(LOOKER, Ordering::Relaxed);
        // SeqCst: pairs with the fence in `pushed`.
        fence(Ordering::SeqCst);
        for _ in 0..2 {
            // Relaxed: a looker more or less: as in `wake`.
            let word = self.word.load(Ordering::Relaxed);
            let looking = lookers(word);
            if sleepers(word) == 0
                || looking >= self.most_lookers
                || queued() <= looking as usize
                || !self.wake(looking)
            {
                break;
            }
        }
    }
}
