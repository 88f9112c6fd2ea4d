//! What a worker's interpreter is given beside its own modules.
//!
//! The extension module cannot be imported there, so a plain module object takes its place in
//! `sys.modules`. `python/subpool` looks for it to learn that it runs inside a worker.

use crate::ffi;
use crate::interp::attach::Attached;
use crate::interp::native::{END, Methods, method};
use crate::interp::object::{Object, Outcome, Raised, check};
use crate::interp::owned::OwnedInterpreter;
use crate::interp::visit::interrupt_class;
use crate::interp::{swallowed, untraced};
use crate::on_import;
use crate::transfer::environment::Text;
use crate::transfer::shared::room;
use std::ffi::CStr;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;

/// What main says of its process; blocks until it has.
pub type Describe = fn() -> Option<Vec<u8>>;

static DESCRIBE: OnceLock<Describe> = OnceLock::new();

/// What main answers to a question; blocks until it has. `None`: nobody is there to answer.
pub type Answer = fn(Vec<u8>) -> Option<Vec<u8>>;

static ANSWER: OnceLock<Answer> = OnceLock::new();

/// The name under which workers find their module.
const MODULE: &CStr = c"_subpool_worker";

/// Whom workers ask about their process.
pub fn describe_with(describe: Describe) {
    DESCRIBE.get_or_init(|| describe);
}

/// Whom workers ask anything else.
pub fn answer_with(answer: Answer) {
    ANSWER.get_or_init(|| answer);
}

/// Puts the module into the interpreter and sets `sys.path` to the caller's. Gives the class of
/// interrupts, which users get by way of that module.
pub fn install<'i>(
    interpreter: &'i OwnedInterpreter,
    worker: usize,
    thread_name: &str,
    path: &[Text],
) -> Outcome<'i> {
    let token = interpreter.attached();
    let system = Object::import(token, c"sys")?;
    system.set_attribute(c"path", &Object::texts(token, path)?)?;

    // SAFETY: attached (`token`); a new reference or null with an error.
    let module = unsafe { Object::from_new(token, ffi::PyModule_New(MODULE.as_ptr())) }?;
    module.set_attribute(c"id", &Object::integer(token, worker.cast_signed() as i64)?)?;
    module.set_attribute(
        c"interpreter_id",
        &Object::integer(token, interpreter.id())?,
    )?;
    module.set_attribute(c"thread_name", &Object::string(token, thread_name)?)?;
    // SAFETY: needs nothing.
    let idents = unsafe {
        [
            (c"thread_ident", ffi::PyThread_get_thread_ident()),
            (c"thread_native_id", ffi::PyThread_get_thread_native_id()),
        ]
    };
    for (name, ident) in idents {
        module.set_attribute(name, &Object::integer(token, ident.cast_signed())?)?;
    }
    let interrupt = interrupt_class(token)?;
    module.set_attribute(c"TaskInterrupted", &interrupt)?;
    swallowed::install(&system, &interrupt)?;
    // SAFETY: a live module; the methods are static, and read only in spite of the type.
    check(unsafe { ffi::PyModule_AddFunctions(module.as_ptr(), METHODS.table()) })?;
    system.attribute(c"modules")?.set_item(MODULE, &module)?;
    untraced::install(token)?;
    on_import::install(token, &system, &module)?;
    Ok(interrupt)
}

/// `subpool._bootstrap`, the worker's side in Python, imported when the first task needs it: in a
/// new interpreter that costs a millisecond, and most workers never do.
///
/// By then a task may have changed `sys.path`, so the second try is with the caller's.
pub fn helpers<'i>(token: Attached<'i>, path: &[Text]) -> Outcome<'i> {
    // What it will need to tell of the failure: pickle brings modules of the standard library.
    import(token, path, c"subpool._pickler")?;
    import(token, path, c"subpool._bootstrap")
}

/// Imports what a function will import when it runs. An error says that this interpreter cannot
/// load it; other errors the function meets by itself.
pub fn look_ahead(token: Attached<'_>, path: &[Text], module: &str) -> Result<(), Raised> {
    let helper = helpers(token, path)?.attribute(c"look_ahead")?;
    helper.call1(&Object::string(token, module)?).map(drop)
}

/// `subpool._context`, for context variables whose modules are not there yet.
pub fn context_helper<'i>(token: Attached<'i>, path: &[Text]) -> Outcome<'i> {
    import(token, path, c"subpool._context")
}

fn import<'i>(token: Attached<'i>, path: &[Text], name: &CStr) -> Outcome<'i> {
    match Object::import(token, name) {
        Ok(module) => return Ok(module),
        Err(raised) => raised.clear(token),
    }
    let system = Object::import(token, c"sys")?;
    let theirs = system.attribute(c"path")?;
    system.set_attribute(c"path", &Object::texts(token, path)?)?;
    let imported = Object::import(token, name).map_err(|raised| raised.take(token));
    system.set_attribute(c"path", &theirs)?;
    imported.map_err(|error| Raised::from_taken(token, error))
}

static METHODS: Methods<4> = Methods([
    method(c"make_room", make_room, ffi::METH_O),
    method(c"describe_process", describe_process, ffi::METH_NOARGS),
    method(c"ask_main", ask_main, ffi::METH_O),
    END,
]);

/// `make_room(look)`: what `subpool.sync` makes its objects with; `look` is as `room::make` wants
/// it.
///
/// # Safety
/// Called by CPython as a function, so attached and with a live argument.
unsafe extern "C" fn make_room(
    _module: *mut ffi::PyObject,
    look: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: attached, with a live object, by the contract; the result leaves as an owned pointer.
    let (token, look) = unsafe {
        let token: Attached<'_> = Attached::assume();
        (
            token,
            Object::from_borrowed(token, NonNull::new_unchecked(look)),
        )
    };
    room::make(token, look, None).map_or(ptr::null_mut(), Object::into_ptr)
}

/// `describe_process()`: what `subpool._process` says in main, or `None`.
///
/// # Safety
/// Called by CPython as a function, so attached.
unsafe extern "C" fn describe_process(
    _module: *mut ffi::PyObject,
    _nothing: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: attached, by the contract; the result leaves as an owned pointer.
    let token: Attached<'_> = unsafe { Attached::assume() };
    let described = token.detached(|| DESCRIBE.get().and_then(|describe| describe()));
    let given = match described {
        Some(described) => Object::bytes(token, &described),
        None => Ok(Object::none(token)),
    };
    given.map_or(ptr::null_mut(), Object::into_ptr)
}

/// `ask_main(question)`: what `subpool._questions` answers in main, both bytes, or `None`.
///
/// # Safety
/// Called by CPython as a function, so attached; `question` is a live object.
unsafe extern "C" fn ask_main(
    _module: *mut ffi::PyObject,
    question: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: attached, by the contract; the result leaves as an owned pointer.
    let token: Attached<'_> = unsafe { Attached::assume() };
    // SAFETY: attached, and live for the call, by the contract.
    let question = NonNull::new(question).map(|one| unsafe { Object::from_borrowed(token, one) });
    let Some(question) = question.as_ref().and_then(Object::as_bytes) else {
        let _set = Raised::value_error(token, "a question is bytes");
        return ptr::null_mut();
    };
    let question = question.to_vec();
    let answered = token.detached(|| ANSWER.get().and_then(|answer| answer(question)));
    let given = match answered {
        Some(answered) => Object::bytes(token, &answered),
        None => Ok(Object::none(token)),
    };
    given.map_or(ptr::null_mut(), Object::into_ptr)
}
