//! How a call begins, runs and suspends.

use std::ptr::{addr_of_mut, null_mut};

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::arguments::Arguments;
use super::{Admission, Call, Phase, Step, under_trio};
use crate::breaker::Outcome;
use crate::python::operation::{self, Kind};
use crate::python::verdict::{self, breaker_of};
use crate::python::{Object, boundary, timer};

impl Call {
    /// One step of the call.
    #[inline(always)]
    pub(super) unsafe fn send(py: Python<'_>, call: *mut Self, value: Object) -> Step {
        // SAFETY: `call` is live, since the interpreter is driving it, and it owns `target` while suspended.
        unsafe {
            match Self::claim(call) {
                Phase::Suspended => Self::drive(py, call, value),
                fresh @ (Phase::Callable | Phase::Awaitable) => {
                    if value == ffi::Py_None() {
                        Self::start(py, call, fresh)
                    } else {
                        (*call).phase = fresh;
                        Self::misused(py, "can't send non-None value to a just-started call")
                    }
                }
                spent => Self::refuse_spent(py, call, spent),
            }
        }
    }

    /// Become `Running`, and say what the call was before. Who finds it `Running` must leave it alone.
    #[inline(always)]
    pub(super) unsafe fn claim(call: *mut Self) -> Phase {
        // SAFETY: as in `send`. Without the GIL two threads may come here at once, and one of them must find it `Running`.
        unsafe {
            #[cfg(Py_GIL_DISABLED)]
            {
                let phase = &*addr_of_mut!((*call).phase).cast::<std::sync::atomic::AtomicU8>();
                std::mem::transmute::<u8, Phase>(phase.swap(Phase::Running as u8, std::sync::atomic::Ordering::AcqRel))
            }
            #[cfg(not(Py_GIL_DISABLED))]
            std::mem::replace(&mut (*call).phase, Phase::Running)
        }
    }

    /// Refuse to drive a call that is being driven, or is over; `phase` is what `claim` found.
    #[cold]
    pub(super) unsafe fn refuse_spent(py: Python<'_>, call: *mut Self, phase: Phase) -> Step {
        if phase == Phase::Running {
            return Self::misused(py, "this call is already being awaited");
        }
        // SAFETY: as in `send`; the claim was ours.
        unsafe { (*call).phase = phase };
        Self::misused(py, "cannot await the same call twice")
    }

    #[cold]
    fn misused(py: Python<'_>, text: &'static str) -> Step {
        boundary::raise(py, PyRuntimeError::new_err(text));
        Step::Raised
    }

    #[inline(always)]
    unsafe fn start(py: Python<'_>, call: *mut Self, fresh: Phase) -> Step {
        // SAFETY: as in `send`.
        unsafe {
            let is_callable = fresh == Phase::Callable;
            if !is_callable && let Err(error) = boundary::attached(|| operation::check_fresh(py, (*call).target)) {
                boundary::raise(py, error);
                // It is somebody else's coroutine: not ours to close.
                return Self::never_started(py, call, Phase::Callable);
            }
            if (*call).admission == Admission::Ask {
                let Some(permit) = verdict::admit(py, (*call).breaker) else {
                    return Self::never_started(py, call, fresh);
                };
                (*call).permit = permit;
                (*call).admission = Admission::Given;
            }
            if (*call).timed && under_trio::is_possible(py) && boundary::attached(|| Self::hand_to_trio(py, call, is_callable)) {
                return if (*call).target.is_null() { Self::leave_raised(py, call) } else { Self::drive(py, call, ffi::Py_None()) };
            }
            if is_callable { Self::invoke(py, call) } else { Self::run_awaitable(py, call) }
        }
    }

    /// Call the operation, and go on with what it returned.
    #[inline(always)]
    unsafe fn invoke(py: Python<'_>, call: *mut Self) -> Step {
        // SAFETY: as in `send`; the arguments lie where `make` put them.
        unsafe {
            let result = Arguments::call(addr_of_mut!((*call).arguments), (*call).target);
            Self::forget_target(call);
            Arguments::forget(addr_of_mut!((*call).arguments));
            if result.is_null() {
                Self::no_stop_iteration(py);
                return Self::leave_raised(py, call);
            }
            if ffi::Py_TYPE(result) == &raw mut ffi::PyCoro_Type {
                (*call).target = result;
                // A coroutine that was made just now is nobody else's; another one may have run before.
                if ffi::Py_REFCNT(result) != 1
                    && let Err(error) = boundary::attached(|| operation::check_fresh(py, result))
                {
                    boundary::raise(py, error);
                    return Self::leave_settled(py, call, Outcome::Ignored);
                }
                return Self::drive(py, call, ffi::Py_None());
            }
            match operation::kind(py, result) {
                Kind::Value => Self::leave_with(py, call, result),
                Kind::Awaitable => {
                    (*call).target = result;
                    Self::run_awaitable(py, call)
                }
                Kind::Unprotected => {
                    operation::refuse_unprotected(py, result);
                    Self::leave_settled(py, call, Outcome::Ignored)
                }
            }
        }
    }

    /// Drive what `target`, an awaitable, gives when it is awaited.
    unsafe fn run_awaitable(py: Python<'_>, call: *mut Self) -> Step {
        // SAFETY: as in `send`.
        unsafe {
            let iterator = operation::iterator(py, (*call).target);
            Self::forget_target(call);
            if iterator.is_null() {
                return Self::leave_raised(py, call);
            }
            (*call).target = iterator;
            Self::drive(py, call, ffi::Py_None())
        }
    }

    /// Send `value` into the operation.
    #[inline(always)]
    unsafe fn drive(py: Python<'_>, call: *mut Self, value: Object) -> Step {
        let mut result = null_mut();
        // SAFETY: as in `send`; the phase is `Running`, so nobody else drives or drops `target` meanwhile.
        unsafe {
            let target = (*call).target;
            let is_call = ffi::Py_TYPE(target) == super::class_ptr();
            let sent =
                if is_call { send_into_call(target, value, &raw mut result) } else { ffi::PyIter_Send(target, value, &raw mut result) };
            match sent {
                ffi::PySendResult::PYGEN_RETURN => Self::leave_with(py, call, result),
                ffi::PySendResult::PYGEN_NEXT => Self::suspend(py, call, result),
                ffi::PySendResult::PYGEN_ERROR => Self::leave_raised(py, call),
            }
        }
    }

    /// The operation suspended: from now on its time is limited.
    pub(super) unsafe fn suspend(py: Python<'_>, call: *mut Self, yielded: Object) -> Step {
        // SAFETY: as in `send`; the alarm lies in the object, which does not move, and every way out disarms it.
        unsafe {
            if (*call).timed {
                (*call).timed = false;
                // Asked now: another configuration may have set a limit, or taken it away, since the call was made.
                let timeout = breaker_of(py, (*call).breaker).terms().timeout;
                if timeout.is_finite()
                    && let Err(error) = timer::arm(py, addr_of_mut!((*call).alarm), timeout, yielded)
                {
                    ffi::Py_DECREF(yielded);
                    boundary::attached(|| operation::close_coroutine(py, (*call).target));
                    boundary::raise(py, error);
                    return Self::leave_settled(py, call, Outcome::Ignored);
                }
            }
            Self::track(call);
            (*call).phase = Phase::Suspended;
            Step::Yielded(yielded)
        }
    }

    /// A `StopIteration` cannot pass through an awaitable: it would look like a return (PEP 479).
    pub(super) unsafe fn no_stop_iteration(py: Python<'_>) {
        // SAFETY: an exception is set.
        if unsafe { ffi::PyErr_ExceptionMatches(ffi::PyExc_StopIteration) } == 0 {
            return;
        }
        boundary::attached(|| {
            let cause = PyErr::take(py);
            let error = PyRuntimeError::new_err("the operation raised StopIteration");
            error.set_cause(py, cause);
            boundary::raise(py, error);
        });
    }
}

/// Send `value` into an operation that is a call itself: nothing but this counts how deep such a chain goes.
#[cold]
unsafe fn send_into_call(target: Object, value: Object, result: *mut Object) -> ffi::PySendResult {
    // SAFETY: the caller holds `target`; what was entered is left.
    unsafe {
        if ffi::Py_EnterRecursiveCall(c" while driving a call of a call".as_ptr()) != 0 {
            return ffi::PySendResult::PYGEN_ERROR;
        }
        let sent = ffi::PyIter_Send(target, value, result);
        ffi::Py_LeaveRecursiveCall();
        sent
    }
}
