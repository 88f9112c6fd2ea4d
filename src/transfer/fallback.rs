//! Where a call goes that no interpreter of its own can run, and why it cannot.

use std::sync::atomic::{AtomicBool, Ordering};

/// Where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A thread of main.
    Thread,
    /// A process.
    Process,
}

impl Kind {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Thread => "thread",
            Self::Process => "process",
        }
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Thread, Self::Process]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// What main knows of a function that has a fallback; one for all its calls.
#[derive(Debug)]
pub struct Plan {
    pub kind: Kind,
    /// Modules that its code imports when it runs: looked at before, since a task whose body has
    /// begun is not run again.
    pub imports: Vec<String>,
    refused: AtomicBool,
}

impl Plan {
    #[must_use]
    pub const fn new(kind: Kind, imports: Vec<String>) -> Self {
        Self {
            kind,
            imports,
            refused: AtomicBool::new(false),
        }
    }

    /// Remembers that no interpreter can run the function.
    pub fn refuse(&self) {
        // Relaxed, here and below: a flag alone. Who reads an old value finds out by itself.
        self.refused.store(true, Ordering::Relaxed);
    }

    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }
}

/// An extension module that refuses to load in an interpreter of its own.
#[derive(Debug)]
pub struct Refusal {
    pub extension: String,
    pub path: Option<String>,
    /// The refusal's own words.
    pub text: String,
    /// The modules whose import led there, outermost first.
    pub modules: Vec<String>,
    pub traceback: String,
}
