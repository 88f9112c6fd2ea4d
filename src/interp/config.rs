//! The isolated configuration: an own GIL, own memory, threads but no daemon threads, no fork or
//! exec, and only extension modules that say they support this.

use crate::ffi;

pub const ISOLATED: ffi::PyInterpreterConfig = ffi::PyInterpreterConfig {
    use_main_obmalloc: 0,
    allow_fork: 0,
    allow_exec: 0,
    allow_threads: 1,
    // A busy daemon thread at the interpreter's end is a crash (docs/limits.md).
    allow_daemon_threads: 0,
    check_multi_interp_extensions: 1,
    gil: ffi::PyInterpreterConfig_OWN_GIL,
};
