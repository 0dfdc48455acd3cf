//! The bindings: they convert and drive, and decide nothing.
//!
//! A call travels one way: [`methods`] (or [`guarded`], for a decorated function) → [`call`], the awaitable → [`verdict`],
//! which asks the core and tells it → the answer. [`timer`] joins only when the operation suspends.
//!
//! What is hot is raw `pyo3::ffi`, in `boundary`, `methods`, `call`, `guarded`, `timer` and `verdict`; everything else is ordinary
//! `PyO3`. All raw code runs attached to the interpreter; an [`Object`] is borrowed unless a comment says that it is owned.

// The classes' doc comments are Python docstrings.
#![allow(clippy::doc_markdown)]

mod asyncio;
mod boundary;
mod breaker;
mod call;
mod class;
mod clock;
mod deadline;
mod guarded;
mod known;
mod methods;
mod operation;
mod permit;
mod queue;
mod terms;
mod timer;
mod trash;
mod trip_rules;
mod verdict;

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// A Python object, as the C API passes it.
type Object = *mut ffi::PyObject;

#[pymodule(gil_used = false)]
fn _native(py: Python<'_>, module: &Bound<'_, PyModule>) -> PyResult<()> {
    // SAFETY: attached.
    let interpreter = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
    if interpreter != 0 {
        // Classes, known objects and kept memory are the process's, and `attached` asks for the main interpreter's thread state.
        return Err(PyImportError::new_err(
            "switchgear._native works in the main interpreter only; a sub-interpreter needs SWITCHGEAR_BACKEND=pure",
        ));
    }
    known::load(py)?;
    module.add_class::<breaker::Breaker>()?;
    module.add_class::<permit::Permit>()?;
    module.add_class::<clock::ManualClock>()?;
    module.add_class::<deadline::Deadline>()?;
    module.add_function(wrap_pyfunction!(deadline::arm, module)?)?;
    methods::attach(&py.get_type::<breaker::Breaker>())?;
    module.add("Call", call::class(py)?)?;
    module.add("GuardedFunction", guarded::class(py)?)?;

    let build = PyDict::new(py);
    build.set_item("version", env!("CARGO_PKG_VERSION"))?;
    build.set_item("rustc", env!("SWITCHGEAR_RUSTC"))?;
    build.set_item("profile", env!("SWITCHGEAR_PROFILE"))?;
    build.set_item("pyo3", env!("SWITCHGEAR_PYO3"))?;
    module.add("BUILD_INFO", build)
}
