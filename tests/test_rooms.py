"""The rules of the rooms hold, and the checker notices when they do not."""

import importlib.util
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECKER = ROOT / "tools" / "check_rooms.py"


def load_checker():
    spec = importlib.util.spec_from_file_location("check_rooms", CHECKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_rooms_are_in_order():
    """Guards the design: pyo3 in its rooms, SAFETY lines, nobody uses upwards, no long files."""
    done = subprocess.run([sys.executable, CHECKER], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pyo3_outside_its_rooms_is_noticed():
    checker = load_checker()
    worker = ROOT / "src" / "worker.rs"
    assert checker.check_pyo3(worker, ["use pyo3::prelude::*;"])
    assert checker.check_pyo3(worker, ["use pyo3::ffi;"]), "only ffi.rs may"
    assert not checker.check_pyo3(worker, ["// pyo3 is not for us"])
    assert not checker.check_pyo3(ROOT / "src" / "ffi.rs", ["pub use pyo3::ffi::*;"])
    assert checker.check_pyo3(ROOT / "src" / "ffi.rs", ["use pyo3::Python;"])
    assert not checker.check_pyo3(ROOT / "src" / "future.rs", ["use pyo3::prelude::*;"])


def test_using_a_later_room_is_noticed():
    checker = load_checker()
    assert checker.check_order(ROOT / "src" / "task.rs", ["use crate::pool::Pool;"])
    assert not checker.check_order(ROOT / "src" / "pool.rs", ["use crate::task::Task;"])
    assert checker.check_order(ROOT / "src" / "nowhere.rs", []), "a room without a place"


def test_unsafe_without_its_line_is_noticed():
    checker = load_checker()
    assert checker.check_safety(["fn f() {", "    unsafe { g() }", "}"])
    assert checker.check_safety(["// a comment", "let x = 1;", "let y = unsafe { g() };"])
    assert not checker.check_safety(["// SAFETY: fine", "let y = unsafe { g() };"])
    assert not checker.check_safety(["// SAFETY: fine", "let y = match", "    unsafe { g() } {"])
    assert checker.check_safety(["unsafe impl Send for X {}"])


def test_an_ordering_without_its_word_is_noticed():
    check = load_checker().check_orderings
    assert check(["fn f() {", "    x.load(Ordering::Acquire);", "}"])
    assert not check(
        ["fn f() {", "    // Acquire: pairs with `g`.", "    x.load(Ordering::Acquire);"]
    )
    assert not check(["// Relaxed: a count.", "fn f() {", "    x.load(Ordering::Relaxed);"])
    assert check(
        ["// Relaxed: a count.", "fn g() {}", "fn f() {", "    x.load(Ordering::Relaxed);"]
    )
    everywhere = ["// Relaxed everywhere: a count.", "fn g() {}", "fn f() {"]
    assert not check([*everywhere, "    x.load(Ordering::Relaxed);"])
    assert check([*everywhere, "    x.load(Ordering::SeqCst);"])


def test_a_comment_that_names_no_file_is_noticed():
    check = load_checker().check_names
    assert check(["// SAFETY: as in gone.rs"], {"here.rs"})
    assert not check(["// SAFETY: as in here.rs (`f`)", 'let gone = "gone.rs";'], {"here.rs"})
