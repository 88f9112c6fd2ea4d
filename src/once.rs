//! What is made once per process in main: strings, classes, and what else is looked up.
//!
//! Guarantees: everybody gets the same; nobody waits, so the child of a fork does not wait for a
//! thread that it does not have. PyO3's own cells and its `intern!` make others wait while one
//! thread fills them, and let go of the GIL for that: a fork by another thread in that moment leaves
//! the child a cell that is never filled.
//! Not guaranteed: that it is made once only. Two threads may, and the first to come is kept.

use pyo3::PyTypeCheck;
use pyo3::prelude::*;
use pyo3::types::PyString;
use std::sync::OnceLock;

pub struct Once<T>(OnceLock<T>);

impl<T> Once<T> {
    #[must_use]
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    #[must_use]
    #[inline]
    pub fn get(&self, _py: Python<'_>) -> Option<&T> {
        self.0.get()
    }

    #[inline]
    pub fn get_or_try_init(
        &self,
        py: Python<'_>,
        make: impl FnOnce() -> PyResult<T>,
    ) -> PyResult<&T> {
        match self.get(py) {
            Some(known) => Ok(known),
            None => make().map(|made| self.keep(made)),
        }
    }

    #[cold]
    fn keep(&self, made: T) -> &T {
        // Nobody is met in there: the GIL is held, and this runs no Python code.
        self.0.get_or_init(|| made)
    }
}

impl<T: PyTypeCheck> Once<Py<T>> {
    /// The attribute `name` of `module`.
    #[inline]
    pub fn import<'py>(
        &self,
        py: Python<'py>,
        module: &str,
        name: &str,
    ) -> PyResult<&Bound<'py, T>> {
        let made = || {
            let found = py.import(module)?.getattr(name)?;
            Ok(found.cast_into::<T>()?.unbind())
        };
        self.get_or_try_init(py, made).map(|found| found.bind(py))
    }
}

/// A string of the source, interned.
pub struct Interned {
    text: &'static str,
    made: Once<Py<PyString>>,
}

impl Interned {
    #[must_use]
    pub const fn new(text: &'static str) -> Self {
        let made = Once::new();
        Self { text, made }
    }

    #[inline]
    pub fn get<'py>(&self, py: Python<'py>) -> &Bound<'py, PyString> {
        let made = match self.made.get(py) {
            Some(made) => made,
            None => self.made.keep(PyString::intern(py, self.text).unbind()),
        };
        made.bind(py)
    }
}

/// An interned string, made when this line is first passed.
macro_rules! intern {
    ($py:expr, $text:expr) => {{
        static INTERNED: $crate::once::Interned = $crate::once::Interned::new($text);
        INTERNED.get($py)
    }};
}
pub(crate) use intern;
