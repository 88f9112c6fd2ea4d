//! Main's side of events, queues and locks: how its items are encoded, and the room itself.

use crate::encode;
use crate::interp::object::Raised;
use crate::transfer::shared::room::{self, Upcalls};
use pyo3::prelude::*;

static UPCALLS: Upcalls = Upcalls {
    encode: |item| {
        // SAFETY: main's room is called attached to main (`make_room`).
        let py = unsafe { Python::assume_attached() };
        // SAFETY: a live object of main.
        let item = unsafe { Bound::from_borrowed_ptr(py, item.as_ptr()) };
        encode::variable(|| "the item".to_owned(), &item).map_err(|error| {
            error.restore(py);
            Raised::pending(encode::token(py))
        })
    },
    decode: |token, item| {
        // SAFETY: as above.
        let py = unsafe { Python::assume_attached() };
        match encode::decode(py, item) {
            Ok(item) => Ok(encode::object(&item)),
            Err(error) => {
                error.restore(py);
                Err(Raised::pending(token))
            }
        }
    },
};

/// What `subpool.sync` makes its objects with, in main.
#[pyfunction]
pub fn make_room(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    match room::make(encode::token(py), Some(&UPCALLS)) {
        // SAFETY: an owned reference to an object of main, given up by `into_ptr`.
        Ok(made) => Ok(unsafe { Bound::from_owned_ptr(py, made.into_ptr()) }),
        Err(_) => Err(PyErr::fetch(py)),
    }
}
