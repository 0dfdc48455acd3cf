//! Python objects that the bindings know by name, looked up once when the module loads.

use std::sync::OnceLock;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyType};

use super::Object;
use crate::breaker::{Outcome, State};

/// What was looked up. Kept for the life of the process, like the module itself.
pub struct Known {
    states: [Py<PyAny>; 4],
    /// `switchgear.errors.CircuitOpenError`
    pub open_error: Py<PyType>,
    /// `switchgear.errors.CallTimeoutError`
    pub timeout_error: Py<PyType>,
    /// `switchgear.errors.UnprotectedError`
    unprotected_error: Py<PyType>,
    /// `switchgear.errors.describe_failure`, `describe_result`, `describe_timeout`, `describe_slow`
    pub describe_failure: Py<PyAny>,
    pub describe_result: Py<PyAny>,
    pub describe_timeout: Py<PyAny>,
    pub describe_slow: Py<PyAny>,
    /// `sys.modules`: trio is there before anybody can run under it.
    pub modules: Py<PyDict>,
    pub names: Names,
}

/// Attribute names, interned.
pub struct Names {
    pub asyncio: Py<PyString>,
    pub trio: Py<PyString>,
    pub on_transition: Py<PyString>,
    pub throw: Py<PyString>,
    pub close: Py<PyString>,
}

static KNOWN: OnceLock<Known> = OnceLock::new();

/// Look everything up. Called once, by the module's initialisation, before any type of ours exists.
pub fn load(py: Python<'_>) -> PyResult<()> {
    if KNOWN.get().is_some() {
        return Ok(());
    }
    let errors = py.import("switchgear.errors")?;
    // By name, not by number: the numbers are the core's business alone.
    let states = py.import("switchgear.state")?.getattr("State")?;
    let member = |state: State| states.get_item(state.name()).map(Bound::unbind);
    let [closed, open, half_open, disabled] = State::ALL;
    let intern = |name| PyString::intern(py, name).unbind();
    let known = Known {
        states: [member(closed)?, member(open)?, member(half_open)?, member(disabled)?],
        open_error: errors.getattr("CircuitOpenError")?.cast_into()?.unbind(),
        timeout_error: errors.getattr("CallTimeoutError")?.cast_into()?.unbind(),
        unprotected_error: errors.getattr("UnprotectedError")?.cast_into()?.unbind(),
        describe_failure: errors.getattr("describe_failure")?.unbind(),
        describe_result: errors.getattr("describe_result")?.unbind(),
        describe_timeout: errors.getattr("describe_timeout")?.unbind(),
        describe_slow: errors.getattr("describe_slow")?.unbind(),
        modules: py.import("sys")?.getattr("modules")?.cast_into()?.unbind(),
        names: Names {
            asyncio: intern("asyncio"),
            trio: intern("trio"),
            on_transition: intern("_on_transition"),
            throw: intern("throw"),
            close: intern("close"),
        },
    };
    KNOWN.set(known).map_err(|_| PyRuntimeError::new_err("switchgear._native was loaded twice at once"))
}

/// What [`load`] found.
#[inline(always)]
pub fn known() -> &'static Known {
    KNOWN.get().expect("the module's initialisation loads it before any type of ours can be used")
}

/// The refusal of a call that no breaker can protect: the caller's mistake.
#[cold]
pub fn unprotected(py: Python<'_>, text: impl Into<String>) -> PyErr {
    PyErr::from_type(known().unprotected_error.bind(py).clone(), (text.into(),))
}

/// The member of Python's `State`.
pub fn state(state: State) -> &'static Py<PyAny> {
    &known().states[state as usize]
}

/// What a member of Python's `Outcome`, or None, says.
pub fn outcome(answer: &Bound<'_, PyAny>) -> PyResult<Option<Outcome>> {
    let py = answer.py();
    if answer.is_none() {
        return Ok(None);
    }
    let class = py.import("switchgear.state")?.getattr("Outcome")?;
    if !answer.is_instance(&class)? {
        return Err(PyTypeError::new_err(format!("classify must return an Outcome or None, not {}", answer.repr()?)));
    }
    Ok(Some(match answer.getattr("name")?.cast::<PyString>()?.to_str()? {
        "SUCCESS" => Outcome::Success,
        "FAILURE" => Outcome::Failure,
        _ => Outcome::Ignored,
    }))
}

/// Borrow an owned reference for the C API.
#[inline(always)]
pub fn raw<T>(object: &Py<T>) -> Object {
    object.as_ptr()
}
