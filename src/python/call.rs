//! The awaitable that `call()` returns: it asks for the permit when it is first driven, runs the operation, and settles.
//!
//! It drives the operation's own coroutine, so there is no Python frame, no task and no timer between the two until the
//! operation suspends. The interpreter drives it through `am_send` (3.11, and again from 3.15) or `tp_iternext` (3.12 to 3.14); `send`,
//! `throw` and `close` make it a coroutine in the eyes of asyncio.
//!
//! Life: `Fresh` → `Running` ⇄ `Suspended` → `Done`. Every way out of `Running` and `Suspended` goes through `Call::leave`, so
//! a permit is settled once, whatever happens: answer, exception, cancellation, `close()`, garbage collection.

use std::ffi::{c_int, c_void};
use std::ptr::{addr_of_mut, null_mut};
use std::sync::atomic::{AtomicIsize, AtomicPtr, Ordering::Relaxed};

use pyo3::exceptions::{PyRuntimeError, PyRuntimeWarning, PyStopIteration, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::boundary;
use super::known::{known, raw};
use super::operation::{self, Kind};
use super::timer::{self, Alarm, Ended, Stage};
use super::verdict::{self, breaker_of};
use super::{Object, guarded};
use crate::breaker::{Outcome, Permit};

/// How many arguments a call keeps in itself; more go to the heap.
const INLINE: usize = 6;

/// Where a call is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Phase {
    /// Not driven yet; `target` is a callable.
    Callable,
    /// Not driven yet; `target` is an awaitable.
    Awaitable,
    /// Being driven right now; `target` is the operation's iterator, or null before there is one.
    Running,
    /// The operation suspended; `target` is its iterator.
    Suspended,
    /// Over; nothing is held any more.
    Done,
}

/// How a call stands with its permit.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Admission {
    /// Asks for one when it is first driven.
    Ask,
    /// Has one, in `permit`.
    Given,
    /// Needs none: it has settled, or is a step of something that holds one.
    None,
}

/// The object.
#[repr(C)]
pub struct Call {
    base: ffi::PyObject,
    breaker: Object,
    target: Object,
    names: Object,
    /// The permit object that a timeout settles, of a step; else null.
    holder: Object,
    spilled: *mut Object,
    positional: u32,
    kept: u32,
    phase: Phase,
    tracked: bool,
    timed: bool,
    admission: Admission,
    /// Written where `admission` says so.
    permit: Permit,
    alarm: Alarm,
    // The first place is free for the callee to use, as PY_VECTORCALL_ARGUMENTS_OFFSET promises it.
    inline: [Object; INLINE + 1],
}

/// What a step came to, with an owned object or a set exception.
enum Step {
    Yielded(Object),
    Returned(Object),
    Raised,
}

/// Make a call of `target`. Steals nothing; null with an exception set where memory runs out.
///
/// # Safety
/// `breaker` is a breaker; `arguments` has `positional` objects followed by one for each name in `names` (null: none).
#[inline(always)]
unsafe fn make(
    py: Python<'_>,
    breaker: Object,
    target: Object,
    phase: Phase,
    admission: Admission,
    arguments: *const Object,
    positional: usize,
    names: Object,
) -> Object {
    // SAFETY: the caller's promise; every field is written before anything else can see the object.
    unsafe {
        let call = allocate();
        if call.is_null() {
            return null_mut();
        }
        let kept = positional + if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) as usize };
        ffi::Py_INCREF(breaker);
        ffi::Py_INCREF(target);
        ffi::Py_XINCREF(names);
        addr_of_mut!((*call).breaker).write(breaker);
        addr_of_mut!((*call).target).write(target);
        addr_of_mut!((*call).names).write(names);
        addr_of_mut!((*call).holder).write(null_mut());
        addr_of_mut!((*call).positional).write(positional as u32);
        addr_of_mut!((*call).kept).write(kept as u32);
        addr_of_mut!((*call).phase).write(phase);
        addr_of_mut!((*call).tracked).write(false);
        addr_of_mut!((*call).timed).write(breaker_of(py, breaker).timeout.is_some());
        addr_of_mut!((*call).admission).write(admission);
        addr_of_mut!((*call).alarm).write(Alarm::new());
        addr_of_mut!((*call).spilled).write(null_mut());
        let mut place = addr_of_mut!((*call).inline).cast::<Object>().add(1);
        if kept > INLINE {
            place = spill(call, kept);
        }
        let mut can_form_cycle = !is_plain_function(target);
        for index in 0..kept {
            let argument = *arguments.add(index);
            ffi::Py_INCREF(argument);
            place.add(index).write(argument);
            can_form_cycle |= ffi::PyType_IS_GC(ffi::Py_TYPE(argument)) != 0;
        }
        if can_form_cycle {
            Call::track(call);
        }
        call.cast()
    }
}

/// A function that holds nothing but its module: a call of it, without arguments, cannot be part of a cycle before it runs, and the
/// collector need not hear of it.
#[inline(always)]
unsafe fn is_plain_function(target: Object) -> bool {
    // SAFETY: `target` is a live object.
    unsafe { ffi::Py_TYPE(target) == &raw mut ffi::PyFunction_Type && ffi::PyFunction_GetClosure(target).is_null() }
}

/// Make room for more arguments than fit inside.
#[cold]
unsafe fn spill(call: *mut Call, kept: usize) -> *mut Object {
    let mut place = Vec::<Object>::with_capacity(kept + 1);
    let start = place.as_mut_ptr();
    std::mem::forget(place);
    // SAFETY: the allocation has room for `kept + 1`; `forget_arguments` gives it back with the same capacity.
    unsafe {
        (*call).spilled = start;
        start.add(1)
    }
}

/// Make a call of a callable and its arguments, as the C API passes them: `positional` of them, then one for each of `names`.
///
/// # Safety
/// As for the arguments of a vectorcall; `breaker` is a breaker.
#[inline(always)]
pub unsafe fn of_callable(
    py: Python<'_>,
    breaker: Object,
    callable: Object,
    arguments: *const Object,
    positional: usize,
    names: Object,
) -> Object {
    // SAFETY: the caller's promise.
    unsafe { make(py, breaker, callable, Phase::Callable, Admission::Ask, arguments, positional, names) }
}

/// Make a call of an awaitable.
///
/// # Safety
/// `breaker` is a breaker, `awaitable` a live object.
pub unsafe fn of_awaitable(py: Python<'_>, breaker: Object, awaitable: Object) -> Object {
    // SAFETY: the caller's promise.
    unsafe { make(py, breaker, awaitable, Phase::Awaitable, Admission::Ask, std::ptr::null(), 0, null_mut()) }
}

/// Make a call of an awaitable that was admitted already, by the call of a decorated function that returned it.
///
/// # Safety
/// As for [`of_awaitable`]; the permit is the call's own from here, if there is one.
pub unsafe fn of_admitted(py: Python<'_>, breaker: Object, awaitable: Object, permit: Permit) -> Object {
    // SAFETY: the caller's promise.
    unsafe {
        let call = make(py, breaker, awaitable, Phase::Awaitable, Admission::Given, std::ptr::null(), 0, null_mut());
        if !call.is_null() {
            (*call.cast::<Call>()).permit = permit;
        }
        call
    }
}

/// Make one timed step of something that holds a permit itself: `holder`, which the timeout settles.
///
/// # Safety
/// As for [`of_awaitable`]; `holder` is a live object.
pub unsafe fn of_step(py: Python<'_>, breaker: Object, awaitable: Object, holder: Object) -> Object {
    // SAFETY: the caller's promise.
    unsafe {
        let call = make(py, breaker, awaitable, Phase::Awaitable, Admission::None, std::ptr::null(), 0, null_mut());
        if !call.is_null() {
            ffi::Py_INCREF(holder);
            (*call.cast::<Call>()).holder = holder;
        }
        call
    }
}

impl Call {
    /// One step of the call.
    #[inline(always)]
    unsafe fn send(py: Python<'_>, call: *mut Self, value: Object) -> Step {
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
    unsafe fn claim(call: *mut Self) -> Phase {
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
    unsafe fn refuse_spent(py: Python<'_>, call: *mut Self, phase: Phase) -> Step {
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
            if (*call).timed && trio_may_run(py) && boundary::attached(|| Self::hand_to_trio(py, call, is_callable)) {
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
            let arguments = Self::arguments(call);
            let flags = (*call).positional as usize | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
            let result = ffi::PyObject_Vectorcall((*call).target, arguments, flags, (*call).names);
            Self::forget_target(call);
            if (*call).kept != 0 {
                Self::forget_arguments(call);
            }
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
            match ffi::PyIter_Send((*call).target, value, &raw mut result) {
                ffi::PySendResult::PYGEN_RETURN => Self::leave_with(py, call, result),
                ffi::PySendResult::PYGEN_NEXT => Self::suspend(py, call, result),
                ffi::PySendResult::PYGEN_ERROR => Self::leave_raised(py, call),
            }
        }
    }

    /// The operation suspended: from now on its time is limited.
    unsafe fn suspend(py: Python<'_>, call: *mut Self, yielded: Object) -> Step {
        // SAFETY: as in `send`; the alarm lies in the object, which does not move, and every way out disarms it.
        unsafe {
            if (*call).timed {
                (*call).timed = false;
                let timeout = breaker_of(py, (*call).breaker).timeout.unwrap_or(f64::INFINITY);
                if let Err(error) = timer::arm(py, addr_of_mut!((*call).alarm), timeout, yielded) {
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

    /// The operation returned `value`, which is owned.
    #[inline(always)]
    unsafe fn leave_with(py: Python<'_>, call: *mut Self, value: Object) -> Step {
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
    unsafe fn leave_raised(py: Python<'_>, call: *mut Self) -> Step {
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
    unsafe fn leave_settled(py: Python<'_>, call: *mut Self, outcome: Outcome) -> Step {
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
            let is_cancellation = !error.is_instance_of::<pyo3::exceptions::PyException>(py);
            if is_cancellation && !(ended == Ended::TimedOut && is_cancelled_error(py, &error)) {
                boundary::raise(py, error);
                return None;
            }
            let error = if is_cancellation { timeout_error(py, (*call).breaker, error) } else { error };
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
    unsafe fn never_started(py: Python<'_>, call: *mut Self, fresh: Phase) -> Step {
        // SAFETY: as in `send`.
        unsafe {
            if fresh == Phase::Awaitable {
                boundary::attached(|| {
                    let error = PyErr::take(py);
                    operation::close_coroutine(py, (*call).target);
                    if let Some(error) = error {
                        boundary::raise(py, error);
                    }
                });
            }
            let step = Self::leave_settled(py, call, Outcome::Ignored);
            Self::forget_arguments(call);
            step
        }
    }

    /// A `StopIteration` cannot pass through an awaitable: it would look like a return (PEP 479).
    unsafe fn no_stop_iteration(py: Python<'_>) {
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

    /// Under trio the deadline is trio's: put the operation into a coroutine that has one. False: trio does not run here.
    unsafe fn hand_to_trio(py: Python<'_>, call: *mut Self, is_callable: bool) -> bool {
        // SAFETY: as in `send`; the arguments lie where `make` put them.
        unsafe {
            let coroutine = py.import("switchgear._trio").and_then(|bridge| {
                if !bridge.call_method0("in_trio")?.is_truthy()? {
                    return Ok(None);
                }
                let breaker = breaker_of(py, (*call).breaker);
                let operation = Borrowed::from_ptr(py, (*call).target);
                let place = Self::arguments(call);
                let positional: Vec<_> =
                    (0..(*call).positional as usize).map(|index| Borrowed::from_ptr(py, *place.add(index)).to_owned()).collect();
                let keywords = pyo3::types::PyDict::new(py);
                for index in (*call).positional as usize..(*call).kept as usize {
                    let name = ffi::PyTuple_GET_ITEM((*call).names, (index - (*call).positional as usize) as ffi::Py_ssize_t);
                    keywords.set_item(Borrowed::from_ptr(py, name), Borrowed::from_ptr(py, *place.add(index)))?;
                }
                let positional = pyo3::types::PyTuple::new(py, positional)?;
                let expired = pyo3::types::PyList::empty(py);
                timer::watch(addr_of_mut!((*call).alarm), expired.clone().into_any());
                let arguments = (&breaker.name, breaker.timeout, operation, positional, keywords, expired);
                bridge.call_method1(if is_callable { "call_with_deadline" } else { "await_with_deadline" }, arguments).map(Some)
            });
            if let Ok(None) = coroutine {
                return false;
            }
            (*call).timed = false;
            Self::forget_target(call);
            Self::forget_arguments(call);
            match coroutine {
                Ok(Some(coroutine)) => (*call).target = coroutine.into_ptr(),
                Ok(None) => {}
                Err(error) => boundary::raise(py, error),
            }
            true
        }
    }

    /// Have the collector look at the call.
    #[inline(always)]
    unsafe fn track(call: *mut Self) {
        // SAFETY: every field is written.
        unsafe {
            if !(*call).tracked {
                (*call).tracked = true;
                ffi::PyObject_GC_Track(call.cast());
            }
        }
    }

    #[inline(always)]
    unsafe fn arguments(call: *mut Self) -> *mut Object {
        // SAFETY: `spilled`, where it is not null, has a free first place like `inline`.
        unsafe {
            let start = if (*call).spilled.is_null() { addr_of_mut!((*call).inline).cast::<Object>() } else { (*call).spilled };
            start.add(1)
        }
    }

    /// Let go of `target`. Its finalizer may run Python code, so the field is null before.
    #[inline(always)]
    unsafe fn forget_target(call: *mut Self) {
        // SAFETY: the call owns what the field holds.
        unsafe {
            let target = std::mem::replace(&mut (*call).target, null_mut());
            ffi::Py_XDECREF(target);
        }
    }

    unsafe fn forget_arguments(call: *mut Self) {
        // SAFETY: the call owns the first `kept` arguments and `names`; the counts are 0 before any finalizer runs.
        unsafe {
            let kept = std::mem::replace(&mut (*call).kept, 0) as usize;
            (*call).positional = 0;
            let names = std::mem::replace(&mut (*call).names, null_mut());
            let holder = std::mem::replace(&mut (*call).holder, null_mut());
            let spilled = std::mem::replace(&mut (*call).spilled, null_mut());
            let start = if spilled.is_null() { addr_of_mut!((*call).inline).cast::<Object>() } else { spilled };
            for index in 1..=kept {
                ffi::Py_DECREF(*start.add(index));
            }
            if !spilled.is_null() {
                drop(Vec::from_raw_parts(spilled, 0, kept + 1));
            }
            ffi::Py_XDECREF(names);
            ffi::Py_XDECREF(holder);
        }
    }

    /// Let go of everything, settling as abandoned what is not settled. For `close`, the collector and the end of the object.
    unsafe fn abandon(py: Python<'_>, call: *mut Self) {
        // SAFETY: as in `send`, or the object is on its way out and nobody else has it.
        unsafe {
            timer::disarm(addr_of_mut!((*call).alarm));
            if (*call).admission == Admission::Given {
                (*call).admission = Admission::None;
                let breaker = breaker_of(py, (*call).breaker);
                breaker.core.settle((*call).permit, Outcome::Ignored, || breaker.now_ns());
            }
            Self::forget_target(call);
            Self::forget_arguments(call);
        }
    }
}

/// Trio cannot run here before somebody has imported it.
///
/// Looked up only when the number of loaded modules has changed: a look-up a call is what a hundredth of its budget goes to.
#[inline(always)]
fn trio_may_run(py: Python<'_>) -> bool {
    static WITHOUT_TRIO: AtomicIsize = AtomicIsize::new(-1);
    // SAFETY: `sys.modules` is a dictionary.
    let count = unsafe { ffi::PyDict_Size(raw(&known().modules)) };
    count != WITHOUT_TRIO.load(Relaxed) && {
        let is_there = boundary::attached(|| known().modules.bind(py).contains(&known().names.trio).unwrap_or(true));
        WITHOUT_TRIO.store(if is_there { -1 } else { count }, Relaxed);
        is_there
    }
}

fn is_cancelled_error(py: Python<'_>, error: &PyErr) -> bool {
    py.import("asyncio").and_then(|asyncio| asyncio.getattr("CancelledError")).is_ok_and(|class| error.matches(py, class).unwrap_or(false))
}

/// `CallTimeoutError`, from the cancellation that it replaces.
fn timeout_error(py: Python<'_>, breaker: Object, cancellation: PyErr) -> PyErr {
    // SAFETY: a call holds a breaker.
    let breaker = unsafe { breaker_of(py, breaker) };
    let error = match known().timeout_error.bind(py).call1((&breaker.name, breaker.timeout)) {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    };
    error.set_context(py, Some(cancellation.clone_ref(py)));
    error.set_cause(py, Some(cancellation));
    error
}

unsafe extern "C" fn am_await(this: Object) -> Object {
    // SAFETY: the interpreter passes a live object.
    unsafe { ffi::Py_INCREF(this) };
    this
}

unsafe extern "C" fn am_send(this: Object, value: Object, result: *mut Object) -> ffi::PySendResult {
    boundary::enter(ffi::PySendResult::PYGEN_ERROR, |py| {
        // SAFETY: the interpreter passes a live object of this class, and a place for the answer.
        unsafe {
            let (status, object) = match Call::send(py, this.cast(), value) {
                Step::Returned(object) => (ffi::PySendResult::PYGEN_RETURN, object),
                Step::Yielded(object) => (ffi::PySendResult::PYGEN_NEXT, object),
                Step::Raised => (ffi::PySendResult::PYGEN_ERROR, null_mut()),
            };
            *result = object;
            status
        }
    })
}

unsafe extern "C" fn iternext(this: Object) -> Object {
    boundary::enter(null_mut(), |py| {
        // SAFETY: the interpreter passes a live object of this class.
        unsafe { hand_out(py, Call::send(py, this.cast(), ffi::Py_None()), true) }
    })
}

unsafe extern "C" fn send(this: Object, value: Object) -> Object {
    boundary::enter(null_mut(), |py| {
        // SAFETY: the interpreter passes a live object of this class.
        unsafe { hand_out(py, Call::send(py, this.cast(), value), false) }
    })
}

/// The iterator protocol's form of a step: a value yielded, or null with `StopIteration` or the exception set. `bare_none`: the
/// caller takes null without an exception for "returned None".
unsafe fn hand_out(py: Python<'_>, step: Step, bare_none: bool) -> Object {
    // SAFETY: a returned object is owned, and let go here.
    unsafe {
        match step {
            Step::Yielded(object) => object,
            Step::Raised => null_mut(),
            Step::Returned(value) => {
                if !(bare_none && value == ffi::Py_None()) {
                    stop_iteration(py, value);
                }
                ffi::Py_DECREF(value);
                null_mut()
            }
        }
    }
}

/// Raise `StopIteration(value)`. A tuple or an exception has to be wrapped by hand: the interpreter would unpack it.
unsafe fn stop_iteration(py: Python<'_>, value: Object) {
    // SAFETY: `value` is a live object.
    unsafe {
        if ffi::PyTuple_Check(value) != 0 || ffi::PyExceptionInstance_Check(value) != 0 {
            boundary::raise(py, PyStopIteration::new_err((Borrowed::from_ptr(py, value).to_owned().unbind(),)));
        } else {
            ffi::PyErr_SetObject(ffi::PyExc_StopIteration, value);
        }
    }
}

unsafe extern "C" fn throw(this: Object, arguments: *mut Object, count: ffi::Py_ssize_t) -> Object {
    boundary::enter_cold(null_mut(), |py| {
        let call: *mut Call = this.cast();
        // SAFETY: the interpreter passes a live object of this class and `count` arguments; the call owns `target`.
        unsafe {
            let step = match Call::claim(call) {
                Phase::Suspended => throw_into(py, call, arguments, count),
                fresh @ (Phase::Callable | Phase::Awaitable) => {
                    boundary::raise(py, raise_given(py, arguments, count));
                    Call::never_started(py, call, fresh)
                }
                spent => Call::refuse_spent(py, call, spent),
            };
            hand_out(py, step, false)
        }
    })
}

/// Pass an exception on to the operation, and go on with what comes of it.
unsafe fn throw_into(py: Python<'_>, call: *mut Call, arguments: *const Object, count: ffi::Py_ssize_t) -> Step {
    // SAFETY: as in `throw`.
    unsafe {
        let target = Borrowed::from_ptr(py, (*call).target).to_owned();
        let given: Vec<_> = (0..count as usize).map(|index| Borrowed::from_ptr(py, *arguments.add(index)).to_owned()).collect();
        let Ok(method) = target.getattr(&known().names.throw) else {
            // An iterator without `throw` cannot hear of it: the exception ends the call, as `yield from` would have it.
            boundary::raise(py, raise_given(py, arguments, count));
            return Call::leave_raised(py, call);
        };
        let yielded = pyo3::types::PyTuple::new(py, given).and_then(|given| method.call1(given));
        match yielded {
            Ok(yielded) => Call::suspend(py, call, yielded.into_ptr()),
            Err(error) if error.is_instance_of::<PyStopIteration>(py) => match error.value(py).getattr("value") {
                Ok(value) => Call::leave_with(py, call, value.into_ptr()),
                Err(error) => {
                    boundary::raise(py, error);
                    Call::leave_raised(py, call)
                }
            },
            Err(error) => {
                boundary::raise(py, error);
                Call::leave_raised(py, call)
            }
        }
    }
}

/// The exception that `throw(type[, value[, traceback]])` or `throw(exception)` was given.
unsafe fn raise_given(py: Python<'_>, arguments: *const Object, count: ffi::Py_ssize_t) -> PyErr {
    if !(1..=3).contains(&count) {
        return PyTypeError::new_err(format!("throw() takes 1 to 3 arguments, not {count}"));
    }
    // SAFETY: `count` arguments were passed.
    let given = |index: ffi::Py_ssize_t| unsafe {
        (index < count).then(|| Borrowed::from_ptr(py, *arguments.offset(index)).to_owned()).filter(|object| !object.is_none())
    };
    let (Some(class), value) = (given(0), given(1)) else { return PyTypeError::new_err("throw() needs an exception") };
    // SAFETY: a plain type test on a live object.
    let is_instance = |object: &Bound<'_, PyAny>| unsafe { ffi::PyExceptionInstance_Check(object.as_ptr()) != 0 };
    let error = match value {
        _ if is_instance(&class) => PyErr::from_value(class),
        Some(value) if is_instance(&value) => PyErr::from_value(value),
        value => match class.cast::<PyType>() {
            Ok(class) => PyErr::from_type(class.clone(), value.map(Bound::unbind)),
            Err(_) => return PyTypeError::new_err("exceptions must be classes or instances deriving from BaseException"),
        },
    };
    if let Some(traceback) = given(2) {
        let _ = error.value(py).setattr("__traceback__", traceback);
    }
    error
}

unsafe extern "C" fn close(this: Object, _: Object) -> Object {
    boundary::enter_cold(null_mut(), |py| {
        let call: *mut Call = this.cast();
        // SAFETY: the interpreter passes a live object of this class; the call owns `target`.
        unsafe {
            match Call::claim(call) {
                Phase::Running => {
                    boundary::raise(py, PyValueError::new_err("this call is being awaited and cannot be closed"));
                    return null_mut();
                }
                Phase::Done => (*call).phase = Phase::Done,
                fresh @ (Phase::Callable | Phase::Awaitable) => {
                    if fresh == Phase::Awaitable {
                        operation::close_coroutine(py, (*call).target);
                    }
                    (*call).phase = Phase::Done;
                    Call::abandon(py, call);
                }
                Phase::Suspended => {
                    let target = Borrowed::from_ptr(py, (*call).target).to_owned();
                    let closed = match target.getattr(&known().names.close) {
                        Ok(method) => method.call0().map(drop),
                        Err(_) => Ok(()),
                    };
                    (*call).phase = Phase::Done;
                    Call::abandon(py, call);
                    if let Err(error) = closed {
                        boundary::raise(py, error);
                        return null_mut();
                    }
                }
            }
            ffi::Py_INCREF(ffi::Py_None());
            ffi::Py_None()
        }
    })
}

unsafe extern "C" fn traverse(this: Object, visit: ffi::visitproc, argument: *mut c_void) -> c_int {
    let call: *mut Call = this.cast();
    // SAFETY: the collector passes a live object of this class; only tracked objects come here, whose fields are all written.
    unsafe {
        let alarm = (*call).alarm.owned();
        let class = ffi::Py_TYPE(this).cast();
        for object in [class, (*call).breaker, (*call).target, (*call).names, (*call).holder, alarm[0], alarm[1]] {
            if !object.is_null() {
                let answer = visit(object, argument);
                if answer != 0 {
                    return answer;
                }
            }
        }
        let place = Call::arguments(call);
        for index in 0..(*call).kept as usize {
            let answer = visit(*place.add(index), argument);
            if answer != 0 {
                return answer;
            }
        }
        0
    }
}

unsafe extern "C" fn clear(this: Object) -> c_int {
    boundary::enter_cold(0, |py| {
        let call: *mut Call = this.cast();
        // SAFETY: the collector passes a live object of this class that nothing outside the garbage reaches.
        unsafe {
            if (*call).phase != Phase::Running {
                (*call).phase = Phase::Done;
                Call::abandon(py, call);
            }
        }
        0
    })
}

unsafe extern "C" fn dealloc(this: Object) {
    let call: *mut Call = this.cast();
    // SAFETY: the last reference is gone, so nobody else has the object.
    unsafe {
        if (*call).tracked {
            ffi::PyObject_GC_UnTrack(this.cast());
        }
        if (*call).phase != Phase::Done {
            boundary::enter_cold((), |py| end_unfinished(py, call));
        }
        let (breaker, holder) = ((*call).breaker, (*call).holder);
        let class = ffi::Py_TYPE(this);
        release(call);
        ffi::Py_DECREF(breaker);
        ffi::Py_XDECREF(holder);
        ffi::Py_DECREF(class.cast());
    }
}

/// A call goes away before its end: say so if it never began, and give back what it holds.
unsafe fn end_unfinished(py: Python<'_>, call: *mut Call) {
    // SAFETY: as in `dealloc`.
    unsafe {
        let pending = PyErr::take(py);
        let fresh = matches!((*call).phase, Phase::Callable | Phase::Awaitable);
        if fresh && (*call).admission != Admission::None {
            let name = breaker_of(py, (*call).breaker).name.bind(py);
            let text =
                format!("a call through breaker {} was never awaited", name.repr().map_or_else(|_| String::new(), |name| name.to_string()));
            let text = std::ffi::CString::new(text).unwrap_or_default();
            if let Err(error) = PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &text, 1) {
                error.write_unraisable(py, None);
            }
            if (*call).phase == Phase::Awaitable {
                operation::close_coroutine(py, (*call).target);
            }
        }
        (*call).phase = Phase::Done;
        Call::abandon(py, call);
        if let Some(error) = pending {
            boundary::raise(py, error);
        }
    }
}

static CLASS: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(null_mut());

/// The class, as the C API has it.
#[inline(always)]
pub fn class_ptr() -> *mut ffi::PyTypeObject {
    CLASS.load(Relaxed)
}

/// Make the class.
pub fn class(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    use guarded::{method, slot};
    let methods = Box::leak(Box::new([
        method(c"send", ffi::PyMethodDefPointer { PyCFunction: send }, ffi::METH_O, c"send($self, value, /)\n--\n\nResume the call."),
        method(
            c"throw",
            ffi::PyMethodDefPointer { PyCFunctionFast: throw },
            ffi::METH_FASTCALL,
            c"throw($self, typ, val=None, tb=None, /)\n--\n\nRaise an exception inside the call.",
        ),
        method(c"close", ffi::PyMethodDefPointer { PyCFunction: close }, ffi::METH_NOARGS, c"close($self, /)\n--\n\nAbandon the call."),
        ffi::PyMethodDef::zeroed(),
    ]));
    let mut slots = [
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_traverse, traverse as *mut c_void),
        slot(ffi::Py_tp_clear, clear as *mut c_void),
        slot(ffi::Py_tp_iternext, iternext as *mut c_void),
        slot(ffi::Py_tp_methods, methods.as_mut_ptr().cast()),
        slot(ffi::Py_am_await, am_await as *mut c_void),
        slot(ffi::Py_am_send, am_send as *mut c_void),
        slot(ffi::Py_tp_doc, c"A call through a breaker, to be awaited once.".as_ptr() as *mut c_void),
        slot(0, null_mut()),
    ];
    let flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION | ffi::Py_TPFLAGS_IMMUTABLETYPE;
    let class = guarded::make_class(py, c"switchgear._native.Call", size_of::<Call>(), flags, &mut slots)?;
    CLASS.store(class.as_ptr().cast(), Relaxed);
    Ok(class)
}

/// Memory of calls that ended, kept for the next ones: a call is made and gone a million times a second.
#[cfg(not(Py_GIL_DISABLED))]
mod freelist {
    use std::cell::UnsafeCell;

    use super::Call;

    const ROOM: usize = 64;

    pub struct Freelist(pub UnsafeCell<(usize, [*mut Call; ROOM])>);

    // SAFETY: touched only by code that holds the GIL, and this module exists only where there is one.
    unsafe impl Sync for Freelist {}

    pub static FREE: Freelist = Freelist(UnsafeCell::new((0, [std::ptr::null_mut(); ROOM])));

    impl Freelist {
        #[inline(always)]
        pub unsafe fn pop(&self) -> Option<*mut Call> {
            // SAFETY: the GIL is held; the places below the count hold memory of ended calls.
            unsafe {
                let (count, places) = &mut *self.0.get();
                let last = count.checked_sub(1)?;
                *count = last;
                Some(*places.get_unchecked(last))
            }
        }

        #[inline(always)]
        pub unsafe fn push(&self, call: *mut Call) -> bool {
            // SAFETY: the GIL is held, and the count is checked.
            unsafe {
                let (count, places) = &mut *self.0.get();
                if *count == ROOM {
                    return false;
                }
                *places.get_unchecked_mut(*count) = call;
                *count += 1;
                true
            }
        }
    }
}

unsafe extern "C" {
    // Revives memory that a freelist kept; declared here because pyo3-ffi leaves it out.
    fn _Py_NewReference(object: Object);
}

/// Memory for a call, with its header written; not tracked by the collector.
#[inline(always)]
unsafe fn allocate() -> *mut Call {
    // SAFETY: the class exists, or no breaker method could have been called. A kept piece of memory still has its class
    // written; the reference to the class that it had was dropped with it.
    unsafe {
        #[cfg(not(Py_GIL_DISABLED))]
        if let Some(call) = freelist::FREE.pop() {
            ffi::Py_INCREF(class_ptr().cast());
            _Py_NewReference(call.cast());
            return call;
        }
        ffi::PyObject_GC_New::<Call>(class_ptr())
    }
}

/// Give a call's memory back.
#[inline(always)]
unsafe fn release(call: *mut Call) {
    // SAFETY: nothing refers to the call any more, and it is not tracked.
    unsafe {
        #[cfg(not(Py_GIL_DISABLED))]
        if freelist::FREE.push(call) {
            return;
        }
        ffi::PyObject_GC_Del(call.cast());
    }
}
