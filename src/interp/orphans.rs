//! How the child of a fork lives on with interpreters whose threads only its parent has.
//!
//! CPython clears all interpreters but the main one in the child, as if it were attached to each,
//! and crashes (#139759). So the child's list of interpreters is cut down to the main one before
//! CPython looks at it, by a handler that the C library calls in the child. The others leak there.
//!
//! Guarantees: nothing is touched unless `arm` was called for this fork, and found CPython's list
//! where the table for debuggers at the beginning of the runtime's state says it is.
//! Not guaranteed: that a CPython keeps such a table. Then the child crashes as it does without us.

use crate::ffi;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

type Interpreter = *mut ffi::PyInterpreterState;

/// `_Py_DebugOffsets` of `pycore_debug_offsets.h`, as far as it is needed.
#[repr(C)]
struct Table {
    cookie: [u8; 8],
    version: u64,
    free_threaded: u64,
    size_of_runtime: u64,
    finalizing: u64,
    interpreters_head: u64,
}

/// Where the list begins: set for a fork, null otherwise.
static HEAD: AtomicPtr<AtomicPtr<ffi::PyInterpreterState>> = AtomicPtr::new(ptr::null_mut());

/// Has the next child know of the main interpreter only. False: it will crash. To be called right
/// before the fork, by a thread attached to main, and with no lock held.
#[must_use]
pub fn arm() -> bool {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let Some(head) = find() else {
        return false;
    };
    let is_registered = *REGISTERED.get_or_init(|| {
        // SAFETY: a function without arguments, which calls nothing that a child may not call.
        unsafe { libc::pthread_atfork(None, None, Some(cut)) == 0 }
    });
    if !is_registered {
        return false; // no memory for it
    }
    // Relaxed, here and below: the child's one thread is that which has called this.
    HEAD.store(head, Ordering::Relaxed);
    true
}

/// After the fork, in the parent.
pub fn disarm() {
    HEAD.store(ptr::null_mut(), Ordering::Relaxed);
}

fn find() -> Option<*mut AtomicPtr<ffi::PyInterpreterState>> {
    // SAFETY: a C string; CPython's state is a static that every build exports for debuggers.
    let runtime = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_PyRuntime".as_ptr()) };
    if runtime.is_null() {
        return None;
    }
    // SAFETY: the table is there if the cookie is, which is looked at first; the runtime's state is
    // larger than the table in any case.
    let table = unsafe { ptr::read_unaligned(runtime.cast::<Table>()) };
    let offset = usize::try_from(table.interpreters_head).ok()?;
    let is_whole = &table.cookie == b"xdebugpy"
        && table.interpreters_head < table.size_of_runtime
        && offset.is_multiple_of(align_of::<Interpreter>());
    if !is_whole {
        return None;
    }
    // SAFETY: within the runtime's state, by its own account.
    let head = unsafe { runtime.byte_add(offset) }.cast::<AtomicPtr<ffi::PyInterpreterState>>();
    // SAFETY: aligned, and a pointer; the calls need nothing. The main interpreter was the first in
    // the list, so it is at its end: to cut off all before it needs no other write.
    unsafe {
        let main = ffi::PyInterpreterState_Main();
        let is_it = (*head).load(Ordering::Relaxed) == ffi::PyInterpreterState_Head()
            && ffi::PyInterpreterState_Next(main).is_null();
        is_it.then_some(head)
    }
}

/// In the child, within `fork`.
///
/// # Safety
/// Called by the C library, in the child.
unsafe extern "C" fn cut() {
    let head = HEAD.load(Ordering::Relaxed);
    if !head.is_null() {
        // SAFETY: `find` has made sure of the address. The child's only thread is that which has
        // forked, and it holds CPython's lock of the list.
        unsafe { (*head).store(ffi::PyInterpreterState_Main(), Ordering::Relaxed) };
        HEAD.store(ptr::null_mut(), Ordering::Relaxed);
    }
}
