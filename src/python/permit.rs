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
        if self.claim() { verdict::settle(py, self.breaker.as_ptr(), self.inner, outcome, failure) } else { Err(settled_already()) }
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
    ///     retry_after: Seconds for which the service wants to be left alone, 0 or more: if this failure opens the breaker, it stays
    ///         OPEN for so long at least, up to ``config.max_reset_timeout``. Default None: what a numeric ``exc.retry_after`` says.
    ///
    /// Raises:
    ///     RuntimeError: The permit is settled already; nothing is counted twice.
    ///     TypeError: It is no exception, or no number; the permit stays unsettled.
    ///     ValueError: ``retry_after`` is negative or NaN; the permit stays unsettled.
    #[pyo3(signature = (exc = None, *, retry_after = None))]
    fn failure(&self, py: Python<'_>, exc: Option<&Bound<'_, PyBaseException>>, retry_after: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let retry_after = retry_after.map(verdict::checked_retry_after).transpose()?;
        let breaker = self.breaker.get();
        let asks = (exc.is_some() || retry_after.is_some()) && breaker.may_open();
        let least_open_ns = if asks { verdict::asked_for(py, breaker, exc, retry_after)? } else { 0 };
        if self.claim() {
            verdict::settle_asking(py, self.breaker.as_ptr(), self.inner, Outcome::Failure, least_open_ns, || {
                verdict::describe_failure(py, exc)
            })
        } else {
            Err(settled_already())
        }
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
        if self.claim() { verdict::settle_by(py, self.breaker.as_ptr(), self.inner, exc, None) } else { Ok(()) }
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

#[cold]
fn settled_already() -> PyErr {
    PyRuntimeError::new_err("this permit is settled already")
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.claim() {
            let breaker = self.breaker.get();
            // An abandoned call changes no state, so there is nothing to announce, and no Python code to run here.
            breaker.settle(self.inner, Outcome::Ignored);
        }
    }
}
