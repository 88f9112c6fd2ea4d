//! Memory that is seen from several interpreters, and how it is laid out.
//!
//! Guarantees: `Memory` stays where it is and valid as long as anybody holds it, whichever
//! interpreter ends first; it holds no object that the holder's interpreter would have to release.
//!
//! Nothing here makes a Rust reference to the content. Python code of several interpreters may
//! write to it at the same time, as threads may in C: what a race leaves in it is the users' own.

use super::graveyard::Kept;
use super::shared::Thing;
use crate::ffi;
use std::alloc;
use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// Whoever owns the memory.
pub enum Memory {
    /// An object of main, which exports it to us.
    Main(Kept),
    /// Ourselves.
    Own(Block),
    /// Nobody: no memory, but a handle that travels as buffers do.
    Shared(Arc<Thing>),
}

impl Memory {
    /// Address and size.
    #[must_use]
    pub fn content(&self) -> (*const u8, usize) {
        match self {
            Self::Main(kept) => kept.content(),
            Self::Own(block) => (block.start().cast_const(), block.size()),
            Self::Shared(_) => (ptr::null(), 0),
        }
    }
}

/// Memory of our own, not written to at first.
pub struct Block {
    base: NonNull<u8>,
    layout: alloc::Layout,
    start: *mut u8,
    size: usize,
}

// SAFETY: plain memory without an owner but `Block` itself.
unsafe impl Send for Block {}
// SAFETY: as above; see the module's comment on races.
unsafe impl Sync for Block {}

/// Enough for any item format.
const ALIGNMENT: usize = 64;

/// Where a block begins within a page.
///
/// A copy whose target lies a little further within its page than its source within its own takes
/// three times as long (the processor takes a load for one that follows a store 4 KiB before it).
/// What malloc gives begins at a page's start, so blocks begin in the middle.
const WITHIN_PAGE: usize = 2048;
const PAGE: usize = 4096;

impl Block {
    /// `None`: no memory.
    #[must_use]
    pub fn new(size: usize) -> Option<Self> {
        let (room, skipped) = if size < HUGE_FROM {
            // Never of size zero, which the allocator does not know.
            (size.max(1), 0)
        } else {
            (size.checked_add(2 * PAGE)?, WITHIN_PAGE)
        };
        let layout = alloc::Layout::from_size_align(room, ALIGNMENT).ok()?;
        // SAFETY: the size is not zero.
        let base = NonNull::new(unsafe { alloc::alloc(layout) })?;
        let mut start = base.as_ptr();
        if skipped > 0 {
            let to_page = start.addr().next_multiple_of(PAGE) - start.addr();
            // SAFETY: two pages more than `size` were allocated, and at most one and a half are
            // skipped; what is left is all to be written.
            unsafe {
                start = start.add(to_page + skipped);
                expect_filling(start, size);
            }
        }
        Some(Self {
            base,
            layout,
            start,
            size,
        })
    }

    /// A copy of `size` bytes at `source`.
    ///
    /// # Safety
    /// So many bytes can be read there.
    #[must_use]
    pub unsafe fn copy_of(source: *const u8, size: usize) -> Option<Self> {
        let block = Self::new(size)?;
        // SAFETY: readable by the contract, writable and apart because just allocated.
        unsafe { ptr::copy_nonoverlapping(source, block.start, size) };
        Some(block)
    }

    #[must_use]
    pub const fn start(&self) -> *mut u8 {
        self.start
    }

    const fn size(&self) -> usize {
        self.size
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, freed once.
        unsafe { alloc::dealloc(self.base.as_ptr(), self.layout) }
    }
}

/// Large enough to have several huge pages inside wherever it begins.
const HUGE_FROM: usize = 8 << 20;

/// Says that all of a fresh allocation is about to be written. The system may then give it in huge
/// pages: taking 4 KiB pages one by one costs more than the copy that fills them.
///
/// # Safety
/// The memory is allocated.
pub unsafe fn expect_filling(start: *mut u8, size: usize) {
    #[cfg(target_os = "linux")]
    if size >= HUGE_FROM {
        // Huge pages wholly inside: what lies beside them in the last ones is not ours.
        const HUGE: usize = 2 << 20;
        let skipped = start.addr().next_multiple_of(HUGE) - start.addr();
        let inside = (size - skipped) / HUGE * HUGE;
        // SAFETY: within the allocation; the advice changes nothing but speed, and may fail.
        unsafe { libc::madvise(start.add(skipped).cast(), inside, libc::MADV_HUGEPAGE) };
    }
}

/// Whether items of this format contain pointers to Python objects (`O`, as numpy has them).
///
/// # Safety
/// `format` is null or a C string.
pub unsafe fn holds_objects(format: *const c_char) -> bool {
    if format.is_null() {
        return false;
    }
    // SAFETY: by the contract.
    let format = unsafe { CStr::from_ptr(format) }.to_bytes();
    // Between colons stand the names of fields.
    let codes = format.split(|byte| *byte == b':').step_by(2);
    codes.flatten().any(|code| *code == b'O')
}

/// How a memoryview sees memory.
#[derive(Clone)]
pub struct Layout {
    start: *mut u8,
    size: isize,
    item: isize,
    readonly: bool,
    format: Option<CString>,
    shape: Box<[isize]>,
    strides: Box<[isize]>,
}

// SAFETY: `start` is a number here; who follows it holds the `Memory` it leads to.
unsafe impl Send for Layout {}
// SAFETY: as above.
unsafe impl Sync for Layout {}

impl Layout {
    /// The layout of an acquired buffer that has no suboffsets.
    ///
    /// # Safety
    /// `view` was filled by a request for everything (`PyBUF_FULL_RO`).
    pub unsafe fn of(view: &ffi::Py_buffer) -> Self {
        let dimensions = usize::try_from(view.ndim).unwrap_or(0);
        let numbers = |start: *const ffi::Py_ssize_t| -> Box<[isize]> {
            if start.is_null() {
                return Box::default();
            }
            // SAFETY: shape and strides of a filled buffer have `ndim` entries.
            unsafe { std::slice::from_raw_parts(start, dimensions) }.into()
        };
        Self {
            start: view.buf.cast(),
            size: view.len,
            item: view.itemsize,
            readonly: view.readonly != 0,
            format: (!view.format.is_null())
                // SAFETY: a format is a C string.
                .then(|| unsafe { CStr::from_ptr(view.format) }.to_owned()),
            shape: numbers(view.shape),
            strides: numbers(view.strides),
        }
    }

    /// The same items in C order at `start`.
    #[must_use]
    pub fn packed_at(mut self, start: *mut u8) -> Self {
        self.start = start;
        let mut stride = self.item;
        for (place, length) in self.strides.iter_mut().zip(&self.shape).rev() {
            *place = stride;
            stride *= *length;
        }
        self
    }

    /// Answers a request for the buffer as the buffer protocol wants it. The pointers lead into
    /// `self`; the owner (`obj`) is the caller's to set.
    pub fn fill(&self, view: &mut ffi::Py_buffer, flags: c_int) -> Result<(), &'static CStr> {
        let wants = |flag| flags & flag == flag;
        *view = ffi::Py_buffer::new();
        view.buf = self.start.cast();
        view.len = self.size;
        view.itemsize = self.item;
        view.readonly = self.readonly.into();
        // At most 64 dimensions.
        view.ndim = c_int::try_from(self.shape.len()).unwrap_or(0);
        if view.ndim > 0 {
            view.shape = self.shape.as_ptr().cast_mut();
            view.strides = self.strides.as_ptr().cast_mut();
        }
        let contiguous = |order: u8| {
            // SAFETY: `view` is filled with what the question needs.
            unsafe { ffi::PyBuffer_IsContiguous(&raw const *view, order.cast_signed()) != 0 }
        };
        let refused = if wants(ffi::PyBUF_WRITABLE) && self.readonly {
            Some(c"the memory is read-only")
        } else if wants(ffi::PyBUF_C_CONTIGUOUS) && !contiguous(b'C')
            || wants(ffi::PyBUF_F_CONTIGUOUS) && !contiguous(b'F')
            || wants(ffi::PyBUF_ANY_CONTIGUOUS) && !contiguous(b'A')
            || !wants(ffi::PyBUF_STRIDES) && !contiguous(b'C')
        {
            Some(c"the memory is not contiguous in the way asked for")
        } else {
            None
        };
        if let Some(reason) = refused {
            return Err(reason);
        }
        if wants(ffi::PyBUF_FORMAT) {
            let format = self.format.as_ref();
            view.format = format.map_or(ptr::null_mut(), |format| format.as_ptr().cast_mut());
        }
        if !wants(ffi::PyBUF_STRIDES) {
            view.strides = ptr::null_mut();
        }
        if !wants(ffi::PyBUF_ND) {
            // Plain bytes: one dimension, by the protocol.
            view.shape = ptr::null_mut();
            view.ndim = 1;
        }
        Ok(())
    }
}
