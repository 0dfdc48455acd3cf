//! The timeout of a guard's body: an alarm that is set when the body begins, since nobody drives it who could see it suspend.

use std::cell::UnsafeCell;

use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::timer::{self, Alarm, Ended};

/// A deadline of the current task, made by ``arm()`` and left once.
#[pyclass(frozen, module = "switchgear._native")]
pub struct Deadline(UnsafeCell<Alarm>);

// SAFETY: the alarm's links are written under its queue's lock. Its other fields are written by `arm`, before anybody else has
// the object, and by `leave`, which the one task that made it calls.
unsafe impl Send for Deadline {}
// SAFETY: as above.
unsafe impl Sync for Deadline {}

/// Give the current task `timeout` seconds from now.
#[pyfunction]
pub fn arm(py: Python<'_>, timeout: f64) -> PyResult<Bound<'_, Deadline>> {
    let deadline = Bound::new(py, Deadline(UnsafeCell::new(Alarm::new())))?;
    // SAFETY: the alarm lies in a Python object, which does not move, and `drop` disarms it.
    unsafe { timer::arm(py, deadline.get().0.get(), timeout, ffi::Py_None())? };
    Ok(deadline)
}

#[pymethods]
impl Deadline {
    /// Leave: the body has ended. Says whether the deadline had come, and whether the cancellation is the deadline's alone.
    fn leave(&self, py: Python<'_>) -> (bool, bool) {
        // SAFETY: the alarm was set by `arm`.
        match unsafe { timer::end(py, self.0.get()) } {
            Ended::InTime => (false, false),
            Ended::TimedOut => (true, true),
            Ended::TimedOutAndCancelled => (true, false),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the collector runs while nothing else does, so nobody writes to the alarm.
        for object in unsafe { (*self.0.get()).owned() } {
            // SAFETY: what an alarm owns is a live object, or null; `Option<Py>` is just that pointer, and borrowed here.
            visit.call(unsafe { &*(&raw const object).cast::<Option<Py<PyAny>>>() })?;
        }
        Ok(())
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        // SAFETY: nobody has the object any more.
        unsafe { timer::disarm(self.0.get()) };
    }
}
