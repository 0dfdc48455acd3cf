//! How a call ends: with a value, with an exception, or before it began. Each way disarms, settles and lets go.

use std::ptr::addr_of_mut;

use pyo3::exceptions::PyException;
use pyo3::ffi;
use pyo3::prelude::*;

use super::arguments::Arguments;
use super::{Admission, Call, Phase, Step};
use crate::breaker::Outcome;
use crate::python::known::known;
use crate::python::operation::{self, Kind};
use crate::python::timer::{self, Ended, Stage};
use crate::python::verdict::{self, breaker_of};
use crate::python::{Object, boundary};

impl Call {
    /// The operation returned `value`, which is owned.
    #[inline(always)]
    pub(super) unsafe fn leave_with(py: Python<'_>, call: *mut Self, value: Object) -> Step {
        // SAFETY: as in `send`.
        unsafe {
            let stage = (*call).alarm.stage();
            if stage == Stage::Elsewhere && matches!(operation::kind(py, value), Kind::Unprotected) {
                operation::refuse_unprotected(py, value);
                return Self::leave_settled(py, call, Outcome::Ignored);
            }
            let in_time = stage == Stage::Idle || timer::end(py, addr_of_mut!((*call).alarm)) == Ended::InTime;
            Self::forget_target(call);
            (*call).phase = Phase::Done;
            if (*call).admission != Admission::Given {
                if !in_time && Self::settle_holder(py, call).is_err() {
                    ffi::Py_DECREF(value);
                    return Step::Raised;
                }
                return Step::Returned(value);
            }
            (*call).admission = Admission::None;
            let permit = (*call).permit;
            if in_time {
                if verdict::settle_value(py, (*call).breaker, permit, value) {
                    return Step::Returned(value);
                }
            } else {
                // The operation swallowed our cancellation and returned after all: its value stands, and so does the verdict.
                let this = Borrowed::from_ptr(py, (*call).breaker);
                let settled = boundary::attached(|| {
                    verdict::settle(py, this.as_ptr(), permit, Outcome::Timeout, || verdict::describe_timeout(&this))
                        .map_err(|error| boundary::raise(py, error))
                });
                if settled.is_ok() {
                    return Step::Returned(value);
                }
            }
            ffi::Py_DECREF(value);
            Step::Raised
        }
    }

    /// The operation raised the exception that is set.
    pub(super) unsafe fn leave_raised(py: Python<'_>, call: *mut Self) -> Step {
        // SAFETY: as in `send`.
        unsafe {
            let mut forced = None;
            if (*call).alarm.stage() != Stage::Idle {
                forced = boundary::attached(|| Self::leave_alarm(py, call));
            }
            Self::finish(py, call, forced)
        }
    }

    /// Settle with the exception that is set and the `outcome` that it means.
    pub(super) unsafe fn leave_settled(py: Python<'_>, call: *mut Self, outcome: Outcome) -> Step {
        // SAFETY: as in `send`.
        unsafe { Self::finish(py, call, Some(outcome)) }
    }

    unsafe fn finish(py: Python<'_>, call: *mut Self, forced: Option<Outcome>) -> Step {
        // SAFETY: as in `send`.
        unsafe {
            timer::disarm(addr_of_mut!((*call).alarm));
            (*call).phase = Phase::Done;
            if (*call).admission == Admission::Given {
                (*call).admission = Admission::None;
                verdict::settle_raised(py, (*call).breaker, (*call).permit, forced);
            }
            Self::forget_target(call);
            Step::Raised
        }
    }

    /// An exception met a set alarm: it may be the alarm's own cancellation, and then becomes `CallTimeoutError`.
    unsafe fn leave_alarm(py: Python<'_>, call: *mut Self) -> Option<Outcome> {
        // SAFETY: as in `send`.
        unsafe {
            let ended = timer::end(py, addr_of_mut!((*call).alarm));
            if ended == Ended::InTime {
                return None;
            }
            let error = PyErr::take(py)?;
            let is_cancellation = !error.is_instance_of::<PyException>(py);
            if is_cancellation && !(ended == Ended::TimedOut && is_cancelled_error(py, &error)) {
                boundary::raise(py, error);
                return None;
            }
            let error = if is_cancellation { timeout_error(py, call, error) } else { error };
            if Self::settle_holder(py, call).is_ok() {
                boundary::raise(py, error);
            }
            Some(Outcome::Timeout)
        }
    }

    /// The time of a step is over: settle the permit of what it is a step of. An error: a listener's exception is set.
    unsafe fn settle_holder(py: Python<'_>, call: *mut Self) -> Result<(), ()> {
        // SAFETY: as in `send`.
        unsafe {
            if (*call).holder.is_null() {
                return Ok(());
            }
            let holder = Borrowed::from_ptr(py, (*call).holder);
            boundary::attached(|| holder.call_method0("_settle_timeout").map(drop).map_err(|error| boundary::raise(py, error)))
        }
    }

    /// The call ends before the operation began, with the exception that is set. A coroutine is closed: nobody will run it.
    pub(super) unsafe fn never_started(py: Python<'_>, call: *mut Self, fresh: Phase) -> Step {
        // SAFETY: as in `send`.
        unsafe {
            if fresh == Phase::Awaitable {
                boundary::attached(|| {
                    let error = PyErr::take(py);
                    operation::discard(py, (*call).target);
                    if let Some(error) = error {
                        boundary::raise(py, error);
                    }
                });
            }
            let step = Self::leave_settled(py, call, Outcome::Ignored);
            Arguments::forget(addr_of_mut!((*call).arguments));
            step
        }
    }
}

fn is_cancelled_error(py: Python<'_>, error: &PyErr) -> bool {
    py.import("asyncio").and_then(|asyncio| asyncio.getattr("CancelledError")).is_ok_and(|class| error.matches(py, class).unwrap_or(false))
}

/// `CallTimeoutError`, from the cancellation that it replaces.
///
/// # Safety
/// As in `send`.
unsafe fn timeout_error(py: Python<'_>, call: *mut Call, cancellation: PyErr) -> PyErr {
    // SAFETY: the caller's promise; a call holds a breaker.
    let (breaker, timeout) = unsafe { (breaker_of(py, (*call).breaker), (*call).alarm.duration) };
    let error = match known().timeout_error.bind(py).call1((&breaker.name, timeout)) {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    };
    error.set_context(py, Some(cancellation.clone_ref(py)));
    error.set_cause(py, Some(cancellation));
    error
}
