//! The awaitable that `call()` returns: it asks for the permit when it is first driven, runs the operation, and settles.
//!
//! It drives the operation's own coroutine, so there is no Python frame, no task and no timer between the two until the
//! operation suspends.
//!
//! Life: `Callable` or `Awaitable` → `Running` ⇄ `Suspended` → `Done`. Every way out of `Running` and `Suspended` settles, so a
//! permit is settled once, whatever happens: answer, exception, cancellation, `close()`, garbage collection.
//!
//! * this file: what a call is made of, and how one is made
//! * [`arguments`]: the arguments that it keeps until it runs
//! * [`drive`]: how it begins, runs and suspends
//! * [`leave`]: how it ends
//! * [`under_trio`]: how it begins where the deadline is trio's
//! * [`protocol`]: what the interpreter calls
//! * [`stop`]: how it returns a value where that takes an exception
//! * [`memory`]: where it lies
//! * [`names`]: what it is called

mod arguments;
mod drive;
mod leave;
mod memory;
mod names;
mod protocol;
mod stop;
mod under_trio;

use std::ptr::{addr_of_mut, null_mut};

use pyo3::ffi;
use pyo3::prelude::*;

use super::Object;
use super::timer::{self, Alarm};
use super::verdict::breaker_of;
use crate::breaker::{Outcome, Permit};
use arguments::Arguments;
pub use arguments::Given;
pub use protocol::{class, class_ptr};

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
    /// Owned: what to call or await, then the iterator that is being driven; null where there is none.
    target: Object,
    /// Owned, in a step: the permit object that a timeout settles. Else null.
    holder: Object,
    phase: Phase,
    tracked: bool,
    /// Whether the time is to be limited yet, if there is a limit.
    timed: bool,
    admission: Admission,
    /// Written where `admission` says so.
    permit: Permit,
    alarm: Alarm,
    arguments: Arguments,
}

/// What a step came to, with an owned object or a set exception.
enum Step {
    Yielded(Object),
    Returned(Object),
    Raised,
}

/// Make a call of a callable and its arguments: null with an exception set where memory runs out.
///
/// # Safety
/// `breaker` is a breaker, `callable` a live object; what is given is as a vectorcall passes it.
#[inline(always)]
pub unsafe fn of_callable(py: Python<'_>, breaker: Object, callable: Object, given: Given) -> Object {
    // SAFETY: the caller's promise.
    unsafe { Call::make(py, breaker, callable, Phase::Callable, Admission::Ask, given).cast() }
}

/// Make a call of an awaitable.
///
/// # Safety
/// `breaker` is a breaker, `awaitable` a live object.
pub unsafe fn of_awaitable(py: Python<'_>, breaker: Object, awaitable: Object) -> Object {
    // SAFETY: the caller's promise.
    unsafe { Call::make(py, breaker, awaitable, Phase::Awaitable, Admission::Ask, Given::NOTHING).cast() }
}

/// Make a call of an awaitable that was admitted already, by the call of a decorated function that returned it.
///
/// # Safety
/// As for [`of_awaitable`]; the permit is the call's own from here, if there is one.
pub unsafe fn of_admitted(py: Python<'_>, breaker: Object, awaitable: Object, permit: Permit) -> Object {
    // SAFETY: the caller's promise.
    unsafe {
        let call = Call::make(py, breaker, awaitable, Phase::Awaitable, Admission::Given, Given::NOTHING);
        if !call.is_null() {
            (*call).permit = permit;
        }
        call.cast()
    }
}

/// Make one timed step of something that holds a permit itself: `holder`, which the timeout settles.
///
/// # Safety
/// As for [`of_awaitable`]; `holder` is a live object.
pub unsafe fn of_step(py: Python<'_>, breaker: Object, awaitable: Object, holder: Object) -> Object {
    // SAFETY: the caller's promise.
    unsafe {
        let call = Call::make(py, breaker, awaitable, Phase::Awaitable, Admission::None, Given::NOTHING);
        if !call.is_null() {
            ffi::Py_INCREF(holder);
            (*call).holder = holder;
        }
        call.cast()
    }
}

/// Whether a call has not been driven yet.
///
/// # Safety
/// `call` is a live call.
pub unsafe fn is_fresh(call: Object) -> bool {
    // SAFETY: the caller's promise.
    unsafe { matches!((*call.cast::<Call>()).phase, Phase::Callable | Phase::Awaitable) }
}

impl Call {
    /// Make a call; see the functions above.
    #[inline(always)]
    unsafe fn make(_py: Python<'_>, breaker: Object, target: Object, phase: Phase, admission: Admission, given: Given) -> *mut Self {
        // SAFETY: the caller's promise; every field is written before anything else can see the object, but for the permit, which
        // is plain data that nobody reads before it is there.
        unsafe {
            let call = memory::allocate();
            if call.is_null() {
                return null_mut();
            }
            ffi::Py_INCREF(breaker);
            ffi::Py_INCREF(target);
            addr_of_mut!((*call).breaker).write(breaker);
            addr_of_mut!((*call).target).write(target);
            addr_of_mut!((*call).holder).write(null_mut());
            addr_of_mut!((*call).phase).write(phase);
            addr_of_mut!((*call).tracked).write(false);
            addr_of_mut!((*call).timed).write(true);
            addr_of_mut!((*call).admission).write(admission);
            addr_of_mut!((*call).alarm).write(Alarm::new());
            let arguments_can_form_cycle = Arguments::write(addr_of_mut!((*call).arguments), given);
            let breaker_has_dict = (*ffi::Py_TYPE(breaker)).tp_dictoffset != 0;
            if breaker_has_dict || arguments_can_form_cycle || !is_plain_function(target) {
                Self::track(call);
            }
            call
        }
    }

    /// Have the collector look at the call.
    #[inline(always)]
    unsafe fn track(call: *mut Self) {
        // SAFETY: every field that the collector reads is written.
        unsafe {
            if !(*call).tracked {
                (*call).tracked = true;
                ffi::PyObject_GC_Track(call.cast());
            }
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

    /// Let go of everything, settling as abandoned what is not settled. For `close`, the collector and the end of the object.
    unsafe fn abandon(py: Python<'_>, call: *mut Self) {
        // SAFETY: the call is being driven by nobody, or nobody else has it.
        unsafe {
            (*call).phase = Phase::Done;
            timer::disarm(addr_of_mut!((*call).alarm));
            if (*call).admission == Admission::Given {
                (*call).admission = Admission::None;
                let breaker = breaker_of(py, (*call).breaker);
                // An abandoned call changes no state, so there is nothing to announce, and no Python code to run here.
                breaker.settle((*call).permit, Outcome::Ignored);
            }
            Self::forget_target(call);
            Arguments::forget(addr_of_mut!((*call).arguments));
            let holder = std::mem::replace(&mut (*call).holder, null_mut());
            ffi::Py_XDECREF(holder);
        }
    }
}

/// A function that holds nothing but its module: a call of it, without arguments, cannot be part of a cycle before it runs, and the
/// collector need not hear of it.
#[inline(always)]
unsafe fn is_plain_function(target: Object) -> bool {
    // SAFETY: `target` is a live object.
    unsafe { ffi::Py_TYPE(target) == &raw mut ffi::PyFunction_Type && ffi::PyFunction_GetClosure(target).is_null() }
}
