//! The permit as Python holds it: the right to make one call, settled once.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pyo3::exceptions::{PyBaseException, PyRuntimeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::Object;
use super::boundary;
use super::breaker::Breaker;
use super::verdict;
use crate::breaker::{self as core, Outcome};

/// The right to make one call, from ``acquire()`` or ``try_acquire()``, until it is settled.
///
/// Settle it once, from any thread, by ``success()``, ``failure()`` or ``release()``. A permit that is dropped is released:
/// the call is counted as ignored.
#[pyclass(frozen, module = "switchgear._native")]
pub struct Permit {
    breaker: Py<Breaker>,
    inner: core::Permit,
    settled: AtomicBool,
}

impl Permit {
    /// A new permit object: owned, or null with an exception set.
    pub(super) fn hand_out(py: Python<'_>, breaker: Object, permit: core::Permit) -> Object {
        // SAFETY: our callers pass a breaker.
        let breaker = unsafe { Borrowed::from_ptr(py, breaker).cast_unchecked::<Breaker>().to_owned().unbind() };
        match Bound::new(py, Self { breaker, inner: permit, settled: AtomicBool::new(false) }) {
            Ok(permit) => permit.into_ptr(),
            Err(error) => {
                boundary::raise(py, error);
                null_mut()
            }
        }
    }

    /// Claim the right to settle: one caller gets it, whatever the threads do.
    fn claim(&self) -> bool {
        !self.settled.swap(true, Relaxed)
    }

    fn settle<'py>(&self, py: Python<'py>, outcome: Outcome, failure: impl FnOnce() -> PyResult<Bound<'py, PyAny>>) -> PyResult<()> {
        if self.claim() {
            verdict::settle(py, self.breaker.as_ptr(), self.inner, outcome, failure)
        } else {
            Err(PyRuntimeError::new_err("this permit is settled already"))
        }
    }
}

#[pymethods]
impl Permit {
    /// Whether the permit has been settled.
    #[getter]
    fn settled(&self) -> bool {
        self.settled.load(Relaxed)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let name = self.breaker.get().name.bind(py).repr()?;
        Ok(format!("<Permit of {name}, {}>", if self.settled() { "settled" } else { "unsettled" }))
    }

    /// Settle: the call succeeded.
    ///
    /// Raises:
    ///     RuntimeError: The permit is settled already; nothing is counted twice.
    fn success(&self, py: Python<'_>) -> PyResult<()> {
        self.settle(py, Outcome::Success, || verdict::describe_failure(py, None))
    }

    /// Settle: the call failed, whatever the configuration would make of the exception.
    ///
    /// Args:
    ///     exc: What it failed with; its text becomes ``last_failure`` where this failure trips the breaker.
    ///
    /// Raises:
    ///     RuntimeError: The permit is settled already; nothing is counted twice.
    #[pyo3(signature = (exc = None))]
    fn failure(&self, py: Python<'_>, exc: Option<&Bound<'_, PyBaseException>>) -> PyResult<()> {
        self.settle(py, Outcome::Failure, || verdict::describe_failure(py, exc))
    }

    /// Settle: the call was abandoned, and says nothing about the dependency.
    ///
    /// Raises:
    ///     RuntimeError: The permit is settled already; nothing is counted twice.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        self.settle(py, Outcome::Ignored, || verdict::describe_failure(py, None))
    }

    /// Settle, if nobody has, with what the configuration makes of an exception.
    fn _settle_exception(&self, py: Python<'_>, exc: &Bound<'_, PyBaseException>) -> PyResult<()> {
        // SAFETY: an exception instance, and a breaker.
        let outcome = unsafe { verdict::classify(self.breaker.get(), exc.as_ptr()) };
        if self.claim() {
            verdict::settle(py, self.breaker.as_ptr(), self.inner, outcome, || verdict::describe_failure(py, Some(exc)))?;
        }
        Ok(())
    }

    /// Settle, if nobody has, as a call that outlasted the breaker's timeout.
    fn _settle_timeout(&self, py: Python<'_>) -> PyResult<()> {
        if self.claim() {
            let breaker = self.breaker.bind(py).as_any();
            verdict::settle(py, self.breaker.as_ptr(), self.inner, Outcome::Timeout, || verdict::describe_timeout(breaker))?;
        }
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.breaker)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.claim() {
            let breaker = self.breaker.get();
            // An abandoned call changes no state, so there is nothing to announce, and no Python code to run here.
            breaker.core.settle(self.inner, Outcome::Ignored, || breaker.now_ns());
        }
    }
}
