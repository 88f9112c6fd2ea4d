//! What a task finds around it: the caller's `sys.path`, `os.environ` and so on, as they were when
//! the call was submitted.
//!
//! Guarantees: a number means one environment for the life of the process. Calls carry the number
//! alone; workers ask for the rest when it is not the one that they have.
//! Not guaranteed: that a number is known for ever. A program that changes its environment more
//! than `MOST` times while one call waits has that call run in an older environment.

use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::c_int;
use std::ptr;
use std::sync::Arc;

/// A `str` as UTF-8, with lone surrogates as they come (`surrogatepass`): file names may have some.
pub type Text = Box<[u8]>;

/// Encoded names and values, as `os.environ` keeps them.
pub type Variables = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// The parts are shared by the environments in which they are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// `sys.path`.
    pub path: Arc<[Text]>,
    /// `sys.argv`.
    pub argv: Arc<[Text]>,
    /// `os.environ`.
    pub variables: Arc<Variables>,
    /// `warnings.filters`, in the words of `subpool._environment`. `None`: as CPython starts.
    pub filters: Option<Arc<[u8]>>,
    /// `sys.getrecursionlimit()`.
    pub recursion_limit: c_int,
    /// `sys.stdout` and `sys.stderr`.
    pub outputs: [Output; 2],
}

/// Where a task's output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    /// What main calls the stream.
    pub stream: u64,
    pub kind: OutputKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputKind {
    /// Main writes to the process's own descriptor at each line's end, and so can a worker.
    Own,
    /// Main has none (`None`).
    Absent,
    /// Main has put something in its place, or writes later: the text goes through main.
    Forwarded {
        fileno: Option<c_int>,
        terminal: bool,
    },
}

/// An environment and its number.
#[derive(Debug)]
pub struct Numbered {
    pub number: u64,
    pub environment: Environment,
}

/// As many as are known at a time.
const MOST: usize = 1024;
/// As many as a new one is compared with, for programs that go back and forth.
const RECENT: usize = 16;

struct Table {
    /// In the order of their numbers, which leave no gaps.
    entries: VecDeque<Arc<Numbered>>,
    next: u64,
}

static TABLE: Mutex<Table> = Mutex::new(Table {
    entries: VecDeque::new(),
    next: 1,
});

/// Gives an environment a number, or finds the one it has.
pub fn enter(environment: Environment) -> Arc<Numbered> {
    let mut table = TABLE.lock();
    let recent = table.entries.iter().rev().take(RECENT);
    let known = recent
        .filter(|known| known.environment == environment)
        .map(Arc::clone)
        .next();
    if let Some(known) = known {
        return known;
    }
    let numbered = Arc::new(Numbered {
        number: table.next,
        environment,
    });
    table.next += 1;
    if table.entries.len() == MOST {
        table.entries.pop_front();
    }
    table.entries.push_back(Arc::clone(&numbered));
    numbered
}

/// The environment of that number, or `None` if it is not known any more.
pub fn find(number: u64) -> Option<Arc<Numbered>> {
    let table = TABLE.lock();
    let first = table.entries.front()?.number;
    let place = usize::try_from(number.checked_sub(first)?).ok()?;
    table.entries.get(place).map(Arc::clone)
}

/// The child of a fork lets go of a lock that a thread it does not have may hold.
///
/// # Safety
/// Called in the child, before it has a second thread.
pub unsafe fn forget_after_fork() {
    // SAFETY: as in completer.rs. Numbers go on from somewhere above the parent's, so that what
    // the child kept of them means nothing else.
    unsafe {
        if TABLE.is_locked() {
            TABLE.force_unlock();
            let next = (*TABLE.data_ptr()).next + 1;
            let entries = VecDeque::new();
            ptr::write(TABLE.data_ptr(), Table { entries, next });
        }
    }
}
