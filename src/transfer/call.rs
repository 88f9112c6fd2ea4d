//! A call on its way to a worker, and what came of it on its way back.

use super::context::Carried;
use super::fallback::Refusal;
use super::function::Definition;
use super::graveyard::Kept;
use super::value::Payload;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A call, encoded.
#[derive(Clone, Debug)]
pub struct Call {
    pub form: Form,
    pub payload: Payload,
    /// For a pool with `context_vars`: the function runs in a context of its own.
    pub context: Option<Arc<Carried>>,
    /// The number of the environment that it was submitted in; 0 for none.
    pub environment: u64,
}

/// What the payload holds.
#[derive(Clone, Debug)]
pub enum Form {
    /// A tuple of positional arguments, for a function known by number.
    Positional(Arc<Definition>),
    /// `(args, kwargs)`, for a function known by number.
    Keywords(Arc<Definition>),
    /// `(function, args, kwargs)`, and the function's name for error messages.
    Whole(Arc<str>),
}

/// A function's name, put together only when somebody reads it.
#[derive(Clone, Debug)]
pub enum Label {
    Known(Arc<Definition>),
    Text(Arc<str>),
}

impl fmt::Display for Label {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(known) => known.fmt(out),
            Self::Text(text) => out.write_str(text),
        }
    }
}

impl Call {
    /// A call that was submitted in the environment of that number; 0 for none.
    #[must_use]
    pub const fn new(form: Form, payload: Payload, environment: u64) -> Self {
        Self {
            form,
            payload,
            context: None,
            environment,
        }
    }

    /// What stands for a call that travels nowhere: its function's name.
    #[must_use]
    pub fn without_content(label: Arc<str>) -> Self {
        Self::new(
            Form::Whole(label),
            Payload::pickled(Vec::new(), Vec::new()),
            0,
        )
    }

    /// The same call, to run in a context of its own.
    #[must_use]
    pub fn within(self, context: Option<Arc<Carried>>) -> Self {
        Self { context, ..self }
    }

    #[must_use]
    pub fn label(&self) -> Label {
        match &self.form {
            Form::Positional(known) | Form::Keywords(known) => Label::Known(Arc::clone(known)),
            Form::Whole(text) => Label::Text(Arc::clone(text)),
        }
    }
}

/// What came of a call.
#[derive(Debug)]
pub enum Answer {
    Value(Payload),
    /// The exception, taken apart (`_exceptions.py`).
    Raised(Vec<u8>),
    /// Something could not cross: the message, and the traceback of the cause as text.
    Untransferable {
        message: String,
        path: String,
        traceback: String,
    },
    /// An interrupt ended it; the traceback of where, as text.
    Interrupted {
        /// The time limit that was the reason.
        timeout: Option<Duration>,
        traceback: String,
        /// It has not reacted for so long, and runs on in an interpreter that was replaced.
        stuck: Option<Duration>,
    },
    /// It needs an extension module that no interpreter of its own can load.
    Incompatible {
        refusal: Arc<Refusal>,
        /// The function's body had begun.
        begun: bool,
    },
    /// It ran in main, or in a process: an object of main, to return or to raise.
    Here {
        object: Kept,
        raised: bool,
    },
    /// The pool broke before or while the call ran.
    Broken(Arc<Broken>),
}

/// Why a pool is not usable any more.
#[derive(Clone, Debug)]
pub struct Broken {
    pub message: String,
    /// The traceback of what broke it, as text; empty if there is none.
    pub traceback: String,
}
