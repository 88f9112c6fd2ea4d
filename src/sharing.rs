//! Main's side of events, queues and locks: how its items are encoded, and the room itself.

use crate::encode;
use crate::interp::object::Raised;
use crate::transfer::shared::room::{self, Upcalls};
use pyo3::prelude::*;

static UPCALLS: Upcalls = Upcalls {
    encode: |item| {
        in_call(|py| {
            // SAFETY: a live object of main.
            let item = unsafe { Bound::from_borrowed_ptr(py, item.as_ptr()) };
            encode::variable(|| "the item".to_owned(), &item).map_err(|error| {
                error.restore(py);
                Raised::pending(encode::token(py))
            })
        })
    },
    decode: |token, item| {
        in_call(|py| match encode::decode(py, item) {
            Ok(item) => Ok(encode::object(&item)),
            Err(error) => {
                error.restore(py);
                Err(Raised::pending(token))
            }
        })
    },
};

/// Within a call of PyO3's, as far as that knows: or it would keep what is dropped here, errors with
/// their frames, until the next such call of any thread.
fn in_call<R>(act: impl FnOnce(Python<'_>) -> R) -> R {
    // SAFETY: main's room is called attached to main (`make_room`), which so is what this finds; it
    // does not ask whether Python finalizes, since this thread need not wait for it.
    unsafe { Python::attach_unchecked(act) }
}

/// What `subpool.sync` makes its objects with, in main. `look` is as `room::make` wants it.
#[pyfunction]
pub fn make_room<'py>(py: Python<'py>, look: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    match room::make(encode::token(py), encode::object(look), Some(&UPCALLS)) {
        // SAFETY: an owned reference to an object of main, given up by `into_ptr`.
        Ok(made) => Ok(unsafe { Bound::from_owned_ptr(py, made.into_ptr()) }),
        Err(_) => Err(PyErr::fetch(py)),
    }
}
