//! CPython's tracemalloc, as a pool's first steps in main find it.
//!
//! Guarantees: what is tried out here leaves no trace; tracing that begins or ends while workers
//! allocate hands no allocator a context that is another's. Not with the debug allocators
//! (`PYTHONMALLOC=debug`, `-X dev`), which need their own.

use super::attach::Attached;
use super::object::{Object, Raised};
use crate::ffi;
use std::ffi::{CStr, c_void};
use std::mem::MaybeUninit;
use std::ptr;

/// A key for thread-specific values.
#[cfg(unix)]
pub type Key = libc::pthread_key_t;
#[cfg(not(unix))]
pub type Key = u32;

/// The module `_tracemalloc`.
pub struct Tracer<'i>(Object<'i>);

/// Bytes to try out with: more than what others may free meanwhile.
const TRIAL: usize = 1 << 17;

/// How often the same must come out.
const TRIALS: usize = 3;

impl<'i> Tracer<'i> {
    pub fn import(token: Attached<'i>) -> Result<Self, Raised> {
        Object::import(token, c"_tracemalloc").map(Self)
    }

    fn call(&self, name: &CStr) -> Result<Object<'i>, Raised> {
        let nothing = Object::tuple(self.0.token(), [])?;
        self.0.attribute(name)?.call(&nothing, None)
    }

    pub fn is_on(&self) -> Result<bool, Raised> {
        let is_tracing = self.call(c"is_tracing")?;
        // SAFETY: `True` lives for ever and is compared only.
        Ok(is_tracing.as_ptr() == unsafe { ffi::Py_True() })
    }

    pub fn start(&self) -> Result<(), Raised> {
        self.call(c"start").map(drop)
    }

    pub fn stop(&self) -> Result<(), Raised> {
        self.call(c"stop").map(drop)
    }

    /// Whether somebody else watches references come and go. tracemalloc would take that place.
    #[expect(clippy::unused_self, reason = "it is about tracemalloc")]
    pub fn would_take_a_place(&self) -> bool {
        let mut data: *mut c_void = ptr::null_mut();
        // SAFETY: attached (an object of `self`); the place is written to.
        unsafe { ffi::PyRefTracer_GetTracer(&raw mut data) }.is_some()
    }

    /// The key whose value marks a thread that tracemalloc shall not trace, found by trying.
    ///
    /// Only keys whose value here is null are tried, and that is put back before any other code
    /// runs on this thread, but for the allocation itself: no signal's handler sees it (`Unheard`).
    /// An allocator put in the C library's place that has such a key would.
    pub fn find_key(&self) -> Result<Option<Key>, Raised> {
        for key in unused_keys() {
            let mut marks = {
                let _unheard = Unheard::begin();
                let marks = set_value(key, true);
                if marks {
                    set_value(key, false);
                }
                marks
            };
            for _ in 0..TRIALS {
                marks = marks && self.traces(None)? && !self.traces(Some(key))?;
            }
            if marks {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    /// Whether an allocation is traced, with the thread marked by that key.
    fn traces(&self, key: Option<Key>) -> Result<bool, Raised> {
        let before = self.traced_bytes()?;
        let unheard = key.map(|key| {
            let unheard = Unheard::begin();
            set_value(key, true);
            unheard
        });
        // SAFETY: attached (an object of `self`); freed below.
        let block = unsafe { ffi::PyMem_Malloc(TRIAL) };
        if let Some(key) = key {
            set_value(key, false);
        }
        drop(unheard);
        let after = self.traced_bytes();
        // SAFETY: allocated above, or null.
        unsafe { ffi::PyMem_Free(block) };
        Ok(after? >= before + TRIAL / 2)
    }

    fn traced_bytes(&self) -> Result<usize, Raised> {
        let now = self.call(c"get_traced_memory")?.item(0);
        // SAFETY: attached; what is no int is an error, and told as -1.
        let bytes = now.map(|now| unsafe { ffi::PyLong_AsSize_t(now.as_ptr()) });
        bytes
            .filter(|bytes| *bytes != usize::MAX)
            .ok_or_else(|| Raised::pending(self.0.token()))
    }
}

/// Has signals wait that would be handled on the calling thread, until it is dropped.
#[cfg(unix)]
struct Unheard(libc::sigset_t);

#[cfg(not(unix))]
struct Unheard;

#[cfg(not(unix))]
impl Unheard {
    const fn begin() -> Self {
        Self
    }
}

#[cfg(unix)]
impl Unheard {
    fn begin() -> Self {
        let [mut all, mut before] = [MaybeUninit::uninit(); 2];
        // SAFETY: the first call writes all of the one set, the second reads it and writes the
        // other; it fails for a wrong number only.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            Self(before.assume_init())
        }
    }
}

#[cfg(unix)]
impl Drop for Unheard {
    fn drop(&mut self) {
        // SAFETY: the set that was there (`begin`); the old one is not asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
    }
}

/// Whether there is no interpreter but main.
pub fn is_only_interpreter() -> bool {
    // SAFETY: two addresses, compared only. New interpreters come at the list's head.
    unsafe { ffi::PyInterpreterState_Head() == ffi::PyInterpreterState_Main() }
}

/// The keys for which this thread has no value.
#[cfg(unix)]
fn unused_keys() -> impl Iterator<Item = Key> {
    // SAFETY: needs nothing.
    let count = unsafe { libc::sysconf(libc::_SC_THREAD_KEYS_MAX) };
    let keys = 0..Key::try_from(count).unwrap_or(0);
    // SAFETY: a number in the range that the system names; null for a key that is nobody's.
    keys.filter(|key| unsafe { libc::pthread_getspecific(*key) }.is_null())
}

#[cfg(not(unix))]
fn unused_keys() -> impl Iterator<Item = Key> {
    std::iter::empty()
}

/// Sets the calling thread's value for a key, to what tracemalloc sets it to, or null. False: the
/// key is nobody's.
#[cfg(unix)]
pub fn set_value(key: Key, set: bool) -> bool {
    let value = if set {
        // SAFETY: an address, of what lives for ever.
        unsafe { ffi::Py_True() }
    } else {
        ptr::null_mut()
    };
    // SAFETY: a number, and a pointer that tracemalloc compares and nobody follows.
    unsafe { libc::pthread_setspecific(key, value.cast()) == 0 }
}

#[cfg(not(unix))]
pub fn set_value(_key: Key, _set: bool) -> bool {
    false
}

/// Lets tracing begin and end while threads allocate that do not hold the main GIL.
///
/// CPython reads an allocator's function and its context one after the other. Between the two
/// tracing may begin or end, and replace both. Then its function may come to the allocator's
/// context, which is null: a crash, once in about 30,000 times with two busy workers. CPython's
/// own allocators do not look at their context. So it may as well be such as tracing's functions
/// can use: the address of the allocator itself, which is what tracing's own contexts are, too.
pub fn steady(_main: Attached<'_>) {
    let mut found = DOMAINS.map(allocator);
    let [raw, mem, obj] = found.map(|allocator| allocator.ctx.cast::<ffi::PyMemAllocatorEx>());
    if !mem.is_null() && raw == mem.wrapping_add(1) && obj == mem.wrapping_add(2) {
        // Tracing is on: these are the allocators below it, in the order in which it keeps them.
        for allocator in [raw, mem, obj] {
            // SAFETY: the struct lives as long as the process; what reads it besides, without the
            // main GIL, passes on the context that it finds to a function that ignores it.
            unsafe {
                if (*allocator).ctx.is_null() {
                    (*allocator).ctx = kept(*allocator);
                }
            }
        }
        return;
    }
    for (domain, allocator) in DOMAINS.into_iter().zip(&mut found) {
        if allocator.ctx.is_null() {
            allocator.ctx = kept(*allocator);
            // SAFETY: the functions are those that are there, and ignore the context: they were
            // given null. The call copies the struct.
            unsafe { ffi::PyMem_SetAllocator(domain, allocator) };
        }
    }
}

const DOMAINS: [ffi::PyMemAllocatorDomain; 3] = [
    ffi::PyMemAllocatorDomain::PYMEM_DOMAIN_RAW,
    ffi::PyMemAllocatorDomain::PYMEM_DOMAIN_MEM,
    ffi::PyMemAllocatorDomain::PYMEM_DOMAIN_OBJ,
];

fn allocator(domain: ffi::PyMemAllocatorDomain) -> ffi::PyMemAllocatorEx {
    let mut place = MaybeUninit::uninit();
    // SAFETY: the call writes all of it.
    unsafe {
        ffi::PyMem_GetAllocator(domain, place.as_mut_ptr());
        place.assume_init()
    }
}

/// A copy that stays, as a context.
fn kept(allocator: ffi::PyMemAllocatorEx) -> *mut c_void {
    ptr::from_mut(Box::leak(Box::new(allocator))).cast()
}
