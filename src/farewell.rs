//! The end of an interpreter's threads, before the interpreter's own.
//!
//! Guarantees: `Py_EndInterpreter` comes when no other thread of Python is left in the interpreter;
//! what a process does at its end before it stops its daemon threads is done here before that, in
//! the same order; who waits for the worker is told if threads take longer than they may.
//! Not guaranteed: that threads end. One in a C call cannot, before that returns, and a thread that
//! is no daemon is waited for as long as it takes, as at the end of any program.
//!
//! CPython ends the process (a fatal error) when it finds a thread in the interpreter that is to be
//! ended. `_threads.py` knows the threads and joins them; a look at the interpreter's thread
//! states makes sure. That look alone would not do: a thread leaves the list before its last steps,
//! in which it gives back the GIL, and that lies in the interpreter. Who has joined it has waited
//! for those as well. Only threads that C code has attached by itself are left to the look.

use crate::ffi;
use crate::interp::attach::Attached;
use crate::interp::nap;
use crate::interp::native::{Methods, method};
use crate::interp::object::{Object, Raised};
use std::cell::RefCell;
use std::ffi::{CStr, c_ulong};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks for threads that nobody can join.
const PAUSE: Duration = Duration::from_millis(2);

/// More hooks than a program can have that raise; else one that was changed to raise always would
/// keep us here.
const MOST_HOOKS: usize = 1000;

/// How often what was done registers more to be done, before that is left.
const MOST_ROUNDS: usize = 10;

/// What is being done. Said before it is.
pub enum Step {
    /// What has a name; and whether it may take as long as it takes.
    Settling(String, bool),
    /// The daemon threads' end, which is timed here.
    Dismissing,
}

/// Whom to tell. Must not block.
type Note = Arc<dyn Fn(Step)>;

thread_local! {
    /// For what runs in `bid`.
    static NOTE: RefCell<Option<Note>> = const { RefCell::new(None) };
}

fn note(step: Step) {
    let told = NOTE.with_borrow(Option::clone);
    if let Some(told) = told {
        told(step);
    }
}

/// Has `note` lead somewhere, until it is dropped.
struct Told;

impl Told {
    fn new(tell: Note) -> Self {
        NOTE.set(Some(tell));
        Self
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        NOTE.set(None);
    }
}

/// Ends the threads of the interpreter, or waits for their end. If that takes longer than
/// `patience`, `overdue` is called once, detached, with the names of those that are left.
pub fn bid(
    token: Attached<'_>,
    patience: Duration,
    tell: Note,
    overdue: impl FnOnce(Vec<String>) + Send,
) {
    let _told = Told::new(tell);
    let mut overdue = Some(overdue);
    let mut until = None;
    let mut failed = false;
    let mut rounds = 0;
    loop {
        rounds += 1;
        let helper = helper(token).filter(|_| !failed);
        if let Some(helper) = &helper {
            settle(token, helper);
        }
        note(Step::Dismissing);
        // From here on: what `settle` waits for has the time that it takes.
        let until = *until.get_or_insert_with(|| Instant::now() + patience);
        let left = until.saturating_duration_since(Instant::now());
        let limit = overdue.is_some().then_some(left);
        let dismissed = helper
            .as_ref()
            .map_or(Ok(Vec::new()), |helper| dismiss(token, helper, limit));
        let mut names = dismissed.unwrap_or_else(|raised| {
            raised.report(
                token,
                c"A worker could not end its threads: exception ignored",
            );
            failed = true;
            Vec::new()
        });
        if names.is_empty() {
            if is_alone() {
                // What registers itself again each time is left.
                let is_enough =
                    |helper| rounds > MOST_ROUNDS || !says(token, &helper, c"is_unsettled");
                if helper.is_none_or(is_enough) {
                    return;
                }
                continue;
            }
            // One that has just been started or is about to leave, or one of C code.
            token.detached(|| thread::sleep(PAUSE));
            names.push("a thread that C code has attached".to_owned());
        }
        if Instant::now() >= until
            && let Some(overdue) = overdue.take()
        {
            token.detached(|| overdue(names));
        }
    }
}

/// `subpool._threads`, which is there if `threading` is.
fn helper(token: Attached<'_>) -> Option<Object<'_>> {
    let found =
        Object::string(token, "subpool._threads").and_then(|name| name.as_imported_module());
    found.map_err(|raised| raised.clear(token)).ok()
}

fn settle<'i>(token: Attached<'i>, helper: &Object<'i>) {
    for _ in 0..MOST_HOOKS {
        let settled = helper
            .attribute(c"settle")
            .and_then(|settle| settle.call1(&METHODS.function(token, 2)?));
        match settled {
            Ok(_) => return,
            // As CPython does, but that the hooks behind it are not forgotten.
            Err(raised) => raised.report(token, c"Exception ignored at the end of a worker"),
        }
        if !says(token, helper, c"has_hooks") {
            return; // what raised will raise each time
        }
    }
}

/// What the helper answers to that question; false if it cannot tell.
fn says<'i>(token: Attached<'i>, helper: &Object<'i>, question: &CStr) -> bool {
    let answer = helper
        .attribute(question)
        .and_then(|ask| ask.call(&Object::tuple(token, [])?, None));
    match answer {
        // SAFETY: attached (`token`); `True` lives for ever and is compared only.
        Ok(answer) => answer.as_ptr() == unsafe { ffi::Py_True() },
        Err(raised) => {
            raised.clear(token);
            false
        }
    }
}

fn dismiss<'i>(
    token: Attached<'i>,
    helper: &Object<'i>,
    limit: Option<Duration>,
) -> Result<Vec<String>, Raised> {
    let seconds = limit.map_or_else(
        || Ok(Object::none(token)),
        |limit| {
            // SAFETY: attached (`token`); a new reference or null with an error.
            unsafe { Object::from_new(token, ffi::PyFloat_FromDouble(limit.as_secs_f64())) }
        },
    );
    let [end, frames] = [0, 1].map(|index| METHODS.function(token, index));
    let arguments = Object::tuple(token, [end?, frames?, seconds?])?;
    let left = helper.attribute(c"dismiss")?.call(&arguments, None)?;
    // SAFETY: live; a new reference or null with an error.
    let left = unsafe { Object::from_new(token, ffi::PySequence_Tuple(left.as_ptr())) }?;
    let names = (0..).map_while(|index| left.item(index));
    Ok(names.filter_map(|name| name.to_text()).collect())
}

/// Whether the calling thread is the only one of its interpreter.
fn is_alone() -> bool {
    others().next().is_none()
}

/// The thread states of the other threads of the calling thread's interpreter. To be used up
/// before anything releases the GIL.
fn others() -> impl Iterator<Item = *mut ffi::PyThreadState> {
    // SAFETY: `bid` and `frames` are attached. A thread state is taken from the list by its own
    // thread, attached, so none is while this thread is. New ones come at the list's head.
    let (own, mut next) = unsafe {
        let head = ffi::PyInterpreterState_ThreadHead(ffi::PyInterpreterState_Get());
        (ffi::PyThreadState_Get(), head)
    };
    std::iter::from_fn(move || {
        let state = next;
        if !state.is_null() {
            // SAFETY: in the list, as above.
            next = unsafe { ffi::PyThreadState_Next(state) };
        }
        (!state.is_null()).then_some(state)
    })
    .filter(move |state| *state != own)
}

static METHODS: Methods<3> = Methods([
    method(c"end", end, ffi::METH_O),
    method(c"frames", frames, ffi::METH_NOARGS),
    method(c"note", take_note, ffi::METH_VARARGS),
]);

/// `end(ident)`: raises `SystemExit` in that thread of the interpreter.
///
/// # Safety
/// Called by CPython as a function, so attached and with a live argument.
unsafe extern "C" fn end(
    _nothing: *mut ffi::PyObject,
    ident: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: attached, by the contract; the exception is a static type. A number that is no
    // thread's is ignored. CPython compares it as the unsigned one it is.
    unsafe {
        let ident: c_ulong = ffi::PyLong_AsUnsignedLong(ident);
        if !ffi::PyErr_Occurred().is_null() {
            return ptr::null_mut();
        }
        ffi::PyThreadState_SetAsyncExc(ident.cast_signed(), ffi::PyExc_SystemExit);
        nap::disturb(ident);
        ffi::Py_NewRef(ffi::Py_None())
    }
}

/// `frames()`: the innermost frame of each other thread that runs Python code.
///
/// `sys._current_frames` would look into all interpreters, also those that run at this moment.
///
/// # Safety
/// Called by CPython as a function, so attached.
unsafe extern "C" fn frames(
    _nothing: *mut ffi::PyObject,
    _nobody: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: attached, by the contract; the result leaves this function as an owned pointer.
    let token: Attached<'_> = unsafe { Attached::assume() };
    // All at first: making the list may run code of the garbage collector.
    let frames: Vec<_> = others()
        .filter_map(|state| {
            // SAFETY: a state of this interpreter, whose thread waits for the GIL that this one
            // has, so its frames stay as they are; a new reference or null, without an error.
            let frame = unsafe { ffi::PyThreadState_GetFrame(state) };
            let frame = NonNull::new(frame.cast::<ffi::PyObject>())?;
            // SAFETY: a new reference.
            unsafe { Object::from_new(token, frame.as_ptr()) }.ok()
        })
        .collect();
    Object::list(token, frames.into_iter().map(Ok)).map_or(ptr::null_mut(), Object::into_ptr)
}

/// `note(what, firm)`: says what comes next, and whether it may take as long as it takes.
///
/// # Safety
/// Called by CPython as a function with a tuple, so attached.
unsafe extern "C" fn take_note(
    _nothing: *mut ffi::PyObject,
    arguments: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: attached, by the contract; nothing that is made here outlives this function.
    let token: Attached<'_> = unsafe { Attached::assume() };
    if let Some(arguments) = NonNull::new(arguments) {
        // SAFETY: live for this call.
        let arguments = unsafe { Object::from_borrowed(token, arguments) };
        if let [Some(what), Some(firm)] = [0, 1].map(|index| arguments.item(index)) {
            // SAFETY: `True` lives for ever and is compared only.
            let firm = firm.as_ptr() == unsafe { ffi::Py_True() };
            note(Step::Settling(what.to_text().unwrap_or_default(), firm));
        }
    }
    Object::none(token).into_ptr()
}
