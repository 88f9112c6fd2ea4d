//! Main's side of events, queues and locks: how its items are encoded, and the room itself.

use crate::encode;
use crate::interp::object::{Outcome, Raised};
use crate::transfer::shared::room::{self, Upcalls};
use crate::transfer::value::Payload;
use pyo3::prelude::*;

static UPCALLS: Upcalls = Upcalls {
    encode: |item| {
        // SAFETY: main's room is called attached to main (`make_room`), with a live object.
        let item = unsafe { Bound::from_borrowed_ptr(Python::assume_attached(), item.as_ptr()) };
        encode(&item)
    },
    // SAFETY: as above.
    decode: |_, item| decode(unsafe { Python::assume_attached() }, item),
};

/// What is more than to encode the item as it is happens in a call of PyO3's.
fn encode(item: &Bound<'_, PyAny>) -> Result<Payload, Raised> {
    let begun = encode::main_side(item.py()).map(|main| {
        let encoded = main.transfer.encode(&encode::object(item));
        (main, encoded)
    });
    match begun {
        Ok((main, Ok(payload))) if payload.buffers.is_empty() && !main.goes_by_value(&payload) => {
            Ok(payload)
        }
        begun => in_call(|py| {
            begun
                .and_then(|(main, encoded)| {
                    encode::variable_of(main, || "the item".to_owned(), item, encoded)
                })
                .map_err(|error| raised(py, error))
        }),
    }
}

fn decode(py: Python<'_>, item: Payload) -> Outcome<'static> {
    match encode::main_side(py) {
        Ok(main) => main.transfer.decode(encode::token(py), item),
        Err(error) => in_call(|py| Err(raised(py, error))),
    }
}

fn raised(py: Python<'_>, error: PyErr) -> Raised {
    error.restore(py);
    Raised::pending(encode::token(py))
}

/// Within a call of PyO3's, as far as that knows: or it would keep what is dropped, errors with
/// their frames, until the next such call of any thread.
fn in_call<R>(act: impl FnOnce(Python<'_>) -> R) -> R {
    // SAFETY: called attached to main, as above, which so is what this finds. It does not ask
    // whether Python finalizes, since this thread need not wait for it.
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
