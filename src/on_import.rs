//! What happens in a worker when certain modules are imported there, and not before.
//!
//! Guarantees: nothing is imported for it at a worker's start; an import that has nothing to do
//! with it costs one look into a small dict; a module that was there before the worker's code (by
//! a `.pth` file) is treated like one that comes later.
//!
//! The worker's native module is a finder on `sys.meta_path`, by its function `find_spec`. Its
//! dict `on_import` says which module of ours sees to which module.

use crate::ffi;
use crate::interp::attach::Attached;
use crate::interp::native::{END, Methods, method};
use crate::interp::object::{Object, Outcome, Raised, check};
use std::ffi::CStr;
use std::ptr::{self, NonNull};

/// A module, and ours that adapts it to a worker (`adopt` there).
const ADAPTERS: [(&CStr, &CStr); 5] = [
    (c"threading", c"subpool._threads"),
    (c"multiprocessing.process", c"subpool._process"),
    (c"multiprocessing.context", c"subpool._process"),
    (c"multiprocessing.forkserver", c"subpool._process"),
    (c"multiprocessing.resource_tracker", c"subpool._process"),
];

/// The name of that dict.
const TABLE: &CStr = c"on_import";

static METHODS: Methods<2> = Methods([method(c"find_spec", find_spec, ffi::METH_VARARGS), END]);

/// Makes `module`, which stands in `sys.modules`, the first finder, and catches up on what is
/// there already.
pub fn install<'i>(
    token: Attached<'i>,
    system: &Object<'i>,
    module: &Object<'i>,
) -> Result<(), Raised> {
    // SAFETY: attached (`token`); a new reference or null with an error.
    let table = unsafe { Object::from_new(token, ffi::PyDict_New()) }?;
    for (name, adapter) in ADAPTERS {
        let adapter = Object::string(token, &adapter.to_string_lossy())?;
        table.set_item(name, &adapter)?;
    }
    module.set_attribute(TABLE, &table)?;
    // SAFETY: a live module; the methods are static, and read only in spite of the type.
    check(unsafe { ffi::PyModule_AddFunctions(module.as_ptr(), METHODS.table()) })?;
    let finders = system.attribute(c"meta_path")?;
    // SAFETY: live objects; an error if the first is no list.
    check(unsafe { ffi::PyList_Insert(finders.as_ptr(), 0, module.as_ptr()) })?;

    let modules = system.attribute(c"modules")?;
    for (name, _) in ADAPTERS {
        let name = Object::string(token, &name.to_string_lossy())?;
        if contains(&modules, &name)? {
            let argument = Object::tuple(token, [name])?;
            helper(token, c"adopt")?.call(&argument, None)?;
        }
    }
    Ok(())
}

fn contains(mapping: &Object<'_>, key: &Object<'_>) -> Result<bool, Raised> {
    // SAFETY: live objects; 1, 0 or -1 with an error (also for what is no dict).
    let status = unsafe { ffi::PyDict_Contains(mapping.as_ptr(), key.as_ptr()) };
    check(status).map(|()| status == 1)
}

fn helper<'i>(token: Attached<'i>, name: &CStr) -> Outcome<'i> {
    Object::import(token, c"subpool._on_import")?.attribute(name)
}

/// `find_spec(name, path=None, target=None)` of the finder.
///
/// # Safety
/// Called by CPython as a function of the worker's module, so attached and with live objects.
unsafe extern "C" fn find_spec(
    module: *mut ffi::PyObject,
    arguments: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: by the contract; what is made of the token does not outlive this call, but for the
    // result, which is an owned reference; neither pointer is null.
    let (token, module, arguments) = unsafe {
        let token: Attached<'_> = Attached::assume();
        let object = |pointer| Object::from_borrowed(token, NonNull::new_unchecked(pointer));
        (token, object(module), object(arguments))
    };
    let found = module
        .attribute(TABLE)
        .and_then(|table| match arguments.item(0) {
            Some(name) if contains(&table, &name)? => {
                let path = arguments.item(1).unwrap_or_else(|| Object::none(token));
                let arguments = Object::tuple(token, [name, path])?;
                helper(token, c"find_spec")?.call(&arguments, None)
            }
            _ => Ok(Object::none(token)),
        });
    // An import may not fail because of us: then the module stays as it is, and that is told. An
    // interrupt is the task's, and passes.
    found
        .or_else(|raised| {
            // SAFETY: attached (`token`), with the exception set; a static type.
            if unsafe { ffi::PyErr_ExceptionMatches(ffi::PyExc_Exception) } == 0 {
                return Err(raised);
            }
            raised.report(
                token,
                c"A module was not adapted to its worker: exception ignored",
            );
            Ok(Object::none(token))
        })
        .map_or(ptr::null_mut(), Object::into_ptr)
}
