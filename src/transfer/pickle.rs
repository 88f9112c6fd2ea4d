//! Pickle protocol 5 through the C implementation, in whichever interpreter is attached.

use crate::ffi;
use crate::interp::attach::Attached;
use crate::interp::object::{Object, Outcome, Raised};
use std::cell::OnceCell;

const PROTOCOL: i64 = 5;

/// Below this size a copy into a `bytes` object is cheaper than a view of the buffer.
const COPY_BELOW: usize = 4096;

/// Pickle in one interpreter, imported on first use: the import, with all it brings along, is a
/// quarter of a worker's start, and a worker whose tasks need no pickle is spared it.
#[derive(Default)]
pub struct Pickle<'i>(OnceCell<Functions<'i>>);

struct Functions<'i> {
    dumps: Object<'i>,
    loads: Object<'i>,
    protocol: Object<'i>,
}

impl<'i> Functions<'i> {
    fn import(token: Attached<'i>) -> Result<Self, Raised> {
        // The C module itself: importing `pickle` costs a new interpreter milliseconds more.
        let module = Object::import(token, c"_pickle")?;
        Ok(Self {
            dumps: module.attribute(c"dumps")?,
            loads: module.attribute(c"loads")?,
            protocol: Object::integer(token, PROTOCOL)?,
        })
    }
}

impl<'i> Pickle<'i> {
    fn functions(&self, token: Attached<'i>) -> Result<&Functions<'i>, Raised> {
        if let Some(functions) = self.0.get() {
            return Ok(functions);
        }
        // Not within the cell's own initialiser: an import runs Python code, which may come here.
        let functions = Functions::import(token)?;
        Ok(self.0.get_or_init(|| functions))
    }

    pub fn dumps(&self, value: &Object<'i>) -> Result<Vec<u8>, Raised> {
        let functions = self.functions(value.token())?;
        let pickled = functions.dumps.call2(value, &functions.protocol)?;
        // `_pickle.dumps` returns bytes and nothing else.
        Ok(pickled.as_bytes().unwrap_or_default().to_vec())
    }

    /// Unpickles; the bytes are given up, because code that runs meanwhile may hold on to them.
    pub fn loads(&self, token: Attached<'i>, pickled: Vec<u8>) -> Outcome<'i> {
        let loads = &self.functions(token)?.loads;
        if pickled.len() < COPY_BELOW {
            return loads.call1(&Object::bytes(token, &pickled)?);
        }
        let view = borrowed_view(token, &pickled)?;
        let loaded = loads.call1(&view);
        let loaded = match loaded {
            Ok(value) => Ok(value),
            Err(raised) => Err(raised.take(token)),
        };
        if let Err(raised) = release(&view) {
            // Something reached the view and exported it again (hostile, but possible through
            // `gc`): the bytes must outlive it, and nobody knows how long that is.
            raised.clear(token);
            std::mem::forget(pickled);
        }
        loaded.map_err(|error| Raised::from_taken(token, error))
    }
}

/// A read-only memoryview of `content`, valid as long as `content` is.
fn borrowed_view<'i>(token: Attached<'i>, content: &[u8]) -> Outcome<'i> {
    // SAFETY: pointer and length of one slice; PyBUF_READ promises not to write through it. The
    // caller releases the view before the slice ends, or leaks the slice (`loads`).
    unsafe {
        let pointer = ffi::PyMemoryView_FromMemory(
            content.as_ptr().cast_mut().cast(),
            content.len().cast_signed(),
            ffi::PyBUF_READ,
        );
        Object::from_new(token, pointer)
    }
}

fn release(view: &Object<'_>) -> Result<(), Raised> {
    let release = view.attribute(c"release")?;
    let nothing = Object::tuple(view.token(), [])?;
    release.call(&nothing, None).map(drop)
}
