//! The boundary between raw C entry points and Rust: no panic crosses it.

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

#[cold]
fn raise_panic(py: Python<'_>, panic: &Box<dyn std::any::Any + Send>) {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    PySystemError::new_err(format!("switchgear: internal error: {text}")).restore(py);
}
