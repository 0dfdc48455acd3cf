//! The boundary between raw C entry points and Rust: no panic crosses it, and no reference is dropped behind `PyO3`'s back.
//!
//! `PyO3` counts for itself whether a thread is attached, and puts off dropping a `Py` or a `PyErr` where its count is zero. A raw
//! entry point does not pay for that count: the hot path owns neither. What is cold and does runs in [`attached`]. A build with
//! `--cfg pyo3_disable_reference_pool` aborts where this is broken; the debug run of the test suite is one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::PySystemError;
use pyo3::prelude::*;

/// Run `body` for an entry point that the interpreter calls; a panic becomes a Python exception and `failed`.
#[inline(always)]
pub fn enter<R>(failed: R, body: impl FnOnce(Python<'_>) -> R) -> R {
    // SAFETY: only entry points that the interpreter calls come here, and it calls them attached.
    let py = unsafe { Python::assume_attached() };
    catch_unwind(AssertUnwindSafe(|| body(py))).unwrap_or_else(|panic| {
        raise_panic(py, &panic);
        failed
    })
}

/// Run `body`, which is cold, for an entry point that the interpreter calls: as [`enter`], and [`attached`].
pub fn enter_cold<R>(failed: R, body: impl FnOnce(Python<'_>) -> R) -> R {
    enter(failed, |py| attached(|| body(py)))
}

/// Run cold code that owns `Py`s or `PyErr`s.
#[cold]
#[inline(never)]
pub fn attached<R>(body: impl FnOnce() -> R) -> R {
    // SAFETY: everything here runs in an entry point that the interpreter called attached; `Python::attach` would ask whether
    // that is so, and refuse while the interpreter shuts down and still drops our objects.
    unsafe { Python::attach_unchecked(|_| body()) }
}

/// Raise an error.
#[cold]
pub fn raise(py: Python<'_>, error: PyErr) {
    attached(|| error.restore(py));
}

#[cold]
fn raise_panic(py: Python<'_>, panic: &Box<dyn std::any::Any + Send>) {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    raise(py, PySystemError::new_err(format!("switchgear: internal error: {text}")));
}
