//! What a worker says of a task that gave no value that travels by itself.
//!
//! Guarantees: whatever fails while it is told, an answer comes of it; an interrupt is told apart
//! from what the task raised.

use super::performing::Stage;
use super::{Session, Short};
use crate::interp::attach::Attached;
use crate::interp::object::{Object, Raised};
use crate::transfer::call::{Answer, Label};
use crate::transfer::fallback::Refusal;
use crate::transfer::value::Payload;
use crate::worker_api;
use std::any::Any;
use std::ffi::CStr;
use std::sync::Arc;

/// The helper (`_bootstrap.py`) for what plain pickle refused.
const ENCODE_RESULT: &CStr = c"encode_result";

impl<'i> Session<'i> {
    /// Why a call could not be begun, or what it has raised.
    pub(super) fn explain(
        &self,
        token: Attached<'i>,
        label: &Label,
        stage: Stage,
        raised: Raised,
    ) -> Result<Answer, Short<'i>> {
        let variable;
        let (helper, what) = match stage {
            // An initializer's exception is told to the log, as text.
            Stage::Call if self.desk.shared().job().is_none() => (c"tell_error", ""),
            Stage::Call => (c"encode_error", ""),
            Stage::Function => (c"refuse_call", "function"),
            Stage::Arguments => (c"refuse_call", "args"),
            Stage::Context(name) => {
                variable = name;
                (c"refuse_call", variable.as_str())
            }
        };
        let error = self.unless_interrupted(token, raised)?;
        // No memory for a short string: `slow` will find that out again, and say so.
        let what = Object::string(token, what).unwrap_or_else(|failed| {
            failed.clear(token);
            Object::none(token)
        });
        self.slow(helper, label, error, what)
    }

    /// What plain pickle refused with `raised`.
    pub(super) fn encode_slowly(
        &self,
        label: &Label,
        raised: Raised,
        value: &Object<'i>,
    ) -> Result<Answer, Short<'i>> {
        let error = self.unless_interrupted(value.token(), raised)?;
        self.slow(ENCODE_RESULT, label, error, value.share())
    }

    /// The rare ways out, in Python: `helper(label, exception, value, sink)` gives a tuple that
    /// says what to send.
    fn slow(
        &self,
        helper: &CStr,
        label: &Label,
        error: Option<Object<'i>>,
        value: Object<'i>,
    ) -> Result<Answer, Short<'i>> {
        let token = value.token();
        let error = error.unwrap_or_else(|| Object::none(token));
        let attempt = || -> Result<Option<Answer>, Raised> {
            let label = Object::string(token, &label.to_string())?;
            // Only a result goes to a sink, and one comes here only after pickle was there.
            let sink = match helper == ENCODE_RESULT {
                true => self.transfer.open_sink(token)?,
                false => Object::none(token),
            };
            let arguments = [label, error.share(), value.share(), sink.share()];
            let arguments = Object::tuple(token, arguments)?;
            let helper = worker_api::helpers(token, self.path)?.attribute(helper)?;
            let reply = helper.call(&arguments, None)?;
            read_reply(&reply, || self.transfer.collect(&sink))
        };
        Ok(match attempt() {
            Ok(Some(answer)) => answer,
            Ok(None) => lost(label, "the error encoder gave a malformed reply".to_owned()),
            Err(raised) => {
                let failed = self.unless_interrupted(token, raised)?;
                let again = match self.mended(token)? {
                    true => attempt(),
                    false => Ok(None),
                };
                let again =
                    again.or_else(|raised| self.unless_interrupted(token, raised).map(|_| None));
                again?.unwrap_or_else(|| lost(label, text_of(token, failed)))
            }
        })
    }

    /// The exception, if it is not the one that `Future.interrupt` has raised here.
    pub(super) fn unless_interrupted(
        &self,
        token: Attached<'i>,
        raised: Raised,
    ) -> Result<Option<Object<'i>>, Short<'i>> {
        match raised.take(token) {
            Some(error) if self.desk.is_interrupt(&error) => Err(Short::Interrupted(error)),
            error => Ok(error),
        }
    }
}

/// The answer of a task that met an error of ours.
pub(super) fn panicked(panic: &(dyn Any + Send)) -> Answer {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    Answer::Untransferable {
        message: format!("subpool itself failed while it ran a task: {text}"),
        path: String::new(),
        traceback: String::new(),
    }
}

/// `("value",)` with the pickle in the sink, `("raised", bytes)`, `("untransferable",
/// message, path, text)` or `("incompatible", begun, extension, path, text, modules, text)`.
fn read_reply(
    reply: &Object<'_>,
    sink: impl FnOnce() -> Result<Payload, Raised>,
) -> Result<Option<Answer>, Raised> {
    let text = |index| reply.item(index).and_then(|item| item.to_text());
    let bytes = |index| {
        reply
            .item(index)
            .and_then(|item| item.as_bytes().map(<[u8]>::to_vec))
    };
    let untransferable = || {
        Some(Answer::Untransferable {
            message: text(1)?,
            path: text(2)?,
            traceback: text(3)?,
        })
    };
    // Texts alone: what may be missing is empty, and no module's name has a space.
    let incompatible = || {
        let refusal = Refusal {
            extension: text(2)?,
            path: text(3).filter(|path| !path.is_empty()),
            text: text(4)?,
            modules: text(5)?.split_whitespace().map(str::to_owned).collect(),
            traceback: text(6)?,
        };
        Some(Answer::Incompatible {
            begun: text(1)? == "begun",
            refusal: Arc::new(refusal),
        })
    };
    Ok(match text(0).as_deref() {
        Some("value") => Some(Answer::Value(sink()?)),
        Some("raised") => bytes(1).map(Answer::Raised),
        Some("untransferable") => untransferable(),
        Some("incompatible") => incompatible(),
        _ => None,
    })
}

/// When even telling fails (no memory, no stack left): what is known without Python's help.
fn lost(label: &Label, traceback: String) -> Answer {
    Answer::Untransferable {
        message: format!("the outcome of {label} was lost: encoding it failed too"),
        path: String::new(),
        traceback,
    }
}

/// An exception's traceback as text, by the traceback module or, if that fails, by its repr.
pub(super) fn text_of<'i>(token: Attached<'i>, error: Option<Object<'i>>) -> String {
    let Some(error) = error else {
        return String::new();
    };
    let formatted = || -> Result<Option<String>, Raised> {
        let format = Object::import(token, c"traceback")?.attribute(c"format_exception")?;
        let lines = format.call1(&error)?;
        let joined = Object::string(token, "")?
            .attribute(c"join")?
            .call1(&lines)?;
        Ok(joined.to_text())
    };
    match formatted() {
        Ok(text) => text.unwrap_or_default(),
        Err(second) => {
            second.clear(token);
            error.repr_text()
        }
    }
}
