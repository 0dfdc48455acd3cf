//! Admission and verdicts: asks the core, tells it, and turns what it answers into Python's exceptions and callbacks.

use pyo3::exceptions::{PyBaseException, PyException};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::Object;
use super::boundary;
use super::breaker::Breaker;
use super::known::{self, known, raw};
use crate::breaker::{Cause, Change, Outcome, Permit, Rejected, State};

/// The breaker that `this`, a Python object, is.
///
/// # Safety
/// `this` is an instance of [`Breaker`], and outlives the answer.
#[inline(always)]
pub unsafe fn breaker_of(py: Python<'_>, this: Object) -> &Breaker {
    // SAFETY: the caller's promise; the class is frozen, so a shared reference needs no borrow flag.
    unsafe { Borrowed::from_ptr(py, this).cast_unchecked::<Breaker>().get() }
}

/// The permit of a call that the state lets pass unasked.
///
/// # Safety
/// As for [`breaker_of`].
#[inline(always)]
unsafe fn pass(py: Python<'_>, this: Object) -> Option<Permit> {
    // SAFETY: the caller's promise.
    let breaker = unsafe { breaker_of(py, this) };
    breaker.terms().plan.pass(&breaker.block, &breaker.clock)
}

/// Ask to make a call. `None`: an exception is set, `CircuitOpenError` or what a listener raised.
#[inline(always)]
pub fn admit(py: Python<'_>, this: Object) -> Option<Permit> {
    // SAFETY: all our callers hold a breaker, as their own `self` or as a field that their constructor checked.
    match unsafe { pass(py, this) } {
        Some(permit) => Some(permit),
        None => ask_or_raise(py, this),
    }
}

#[cold]
#[inline(never)]
fn ask_or_raise(py: Python<'_>, this: Object) -> Option<Permit> {
    match ask(py, this) {
        Ok(permit) => return Some(permit),
        Err(Some(rejected)) if rejected.full > 0 => raise_full(py, this, rejected.full),
        Err(Some(rejected)) => raise_open(py, this, rejected),
        // A listener's exception is set already.
        Err(None) => {}
    }
    None
}

/// Ask to make a call, where a rejection is no exception. `None` without an exception set: rejected.
#[inline(always)]
pub fn try_admit(py: Python<'_>, this: Object) -> Option<Permit> {
    // SAFETY: as in `admit`.
    match unsafe { pass(py, this) } {
        Some(permit) => Some(permit),
        None => ask(py, this).ok(),
    }
}

/// Ask a breaker that does not just let everything pass. An error without a rejection: an exception is set.
fn ask(py: Python<'_>, this: Object) -> Result<Permit, Option<Rejected>> {
    // SAFETY: as in `admit`.
    let breaker = unsafe { breaker_of(py, this) };
    let (verdict, change) = breaker.terms().plan.acquire(&breaker.block, &breaker.clock);
    if let Some(change) = change
        && !announce_or_raise(py, this, change)
    {
        if let Ok(permit) = verdict {
            breaker.settle(permit, Outcome::Ignored);
        }
        return Err(None);
    }
    verdict.map_err(Some)
}

/// Raise a fresh `BulkheadFullError`. The limit is the one that was met: a listener may have replaced the configuration since.
#[cold]
fn raise_full(py: Python<'_>, this: Object, limit: u32) {
    boundary::attached(|| {
        // SAFETY: as in `admit`.
        let breaker = unsafe { breaker_of(py, this) };
        let error = || py.import("switchgear.errors")?.getattr("BulkheadFullError")?.call1((&breaker.name, limit));
        boundary::raise(py, error().map_or_else(|error| error, PyErr::from_value));
    });
}

/// Raise a fresh `CircuitOpenError`. Its `args` are all it has, and its text is made when somebody reads it; so it is built by
/// `BaseException.__new__` alone, without a Python frame.
fn raise_open(py: Python<'_>, this: Object, rejected: Rejected) {
    // SAFETY: as in `admit`.
    let breaker = unsafe { breaker_of(py, this) };
    let class = raw(&known().open_error);
    let last_failure = breaker.last_failure(py).map_or_else(|| py.None().into_bound(py), Bound::into_any);
    // SAFETY: every pointer is a live object of the type that its call wants; PyTuple_Pack takes references of its own, and
    // what is owned here is released here.
    unsafe {
        let retry_after = ffi::PyFloat_FromDouble(seconds(rejected.retry_after_ns));
        if retry_after.is_null() {
            return;
        }
        let args = ffi::PyTuple_Pack(4, raw(&breaker.name), raw(known::state(rejected.state)), retry_after, last_failure.as_ptr());
        ffi::Py_DECREF(retry_after);
        if args.is_null() {
            return;
        }
        let base = ffi::PyExc_BaseException.cast::<ffi::PyTypeObject>();
        let new = (*base).tp_new.expect("BaseException has a constructor");
        let error = new(class.cast(), args, std::ptr::null_mut());
        ffi::Py_DECREF(args);
        if !error.is_null() {
            ffi::PyErr_SetObject(class, error);
            ffi::Py_DECREF(error);
        }
    }
}

#[allow(clippy::cast_precision_loss)] // seconds for people; exact up to 104 days
fn seconds(ns: Option<u64>) -> f64 {
    ns.map_or(f64::INFINITY, |ns| ns as f64 / 1e9)
}

/// Settle a call that returned `value`. False: a Python exception is set instead (of `is_failure`, or of a listener).
#[inline(always)]
pub fn settle_value(py: Python<'_>, this: Object, permit: Permit, value: Object) -> bool {
    // SAFETY: as in `admit`.
    let breaker = unsafe { breaker_of(py, this) };
    if breaker.terms().judge.as_ref().is_some_and(|judge| judge.is_failure.is_some()) {
        return settle_judged(py, this, permit, value);
    }
    match breaker.settle(permit, Outcome::Success) {
        None => true,
        Some(change) => announce_success(py, this, change),
    }
}

#[cold]
fn announce_success(py: Python<'_>, this: Object, change: Change) -> bool {
    boundary::attached(|| {
        // SAFETY: as in `admit`.
        let this = unsafe { Borrowed::from_ptr(py, this) };
        let described = describe_success(&this, change);
        match described.and(announce(&this, change)) {
            Ok(()) => true,
            Err(error) => {
                boundary::raise(py, error);
                false
            }
        }
    })
}

#[cold]
fn settle_judged(py: Python<'_>, this: Object, permit: Permit, value: Object) -> bool {
    boundary::attached(|| match judge(py, this, permit, value) {
        Ok(()) => true,
        Err(error) => {
            boundary::raise(py, error);
            false
        }
    })
}

/// Settle with what `is_failure` makes of `value`.
fn judge(py: Python<'_>, this: Object, permit: Permit, value: Object) -> PyResult<()> {
    // SAFETY: as in `admit`; `value` is a live object.
    let (breaker, value) = unsafe { (breaker_of(py, this), Borrowed::from_ptr(py, value)) };
    // A reference of our own: the judge may put other terms into force, and these are gone then.
    let is_failure = breaker.terms().judge.as_ref().and_then(|judge| judge.is_failure.as_ref()).map(|judge| judge.clone_ref(py));
    let judged = match is_failure {
        Some(is_failure) => is_failure.bind(py).call1((&value,)).and_then(|answer| answer.is_truthy()),
        None => Ok(false),
    };
    let outcome = match &judged {
        Ok(true) => Outcome::Failure,
        Ok(false) => Outcome::Success,
        Err(_) => Outcome::Ignored,
    };
    let failure = || known().describe_result.bind(py).call1((&value,));
    let announced = settle(py, this, permit, outcome, failure);
    judged.map(drop).and(announced)
}

/// Settle a call that ended with the exception that is set, and leave it set: the caller's own, untouched. An exception of a
/// listener that is no `Exception` takes its place.
pub fn settle_raised(py: Python<'_>, this: Object, permit: Permit, forced: Option<Outcome>) {
    // SAFETY: as in `admit`.
    let breaker = unsafe { breaker_of(py, this) };
    if forced.is_none() && breaker.terms().judge.as_ref().is_some_and(|judge| judge.classify.is_some()) {
        return settle_asked(py, this, permit, None);
    }
    // SAFETY: the exception's class is borrowed and stays alive as long as the exception is set.
    let outcome = forced.unwrap_or_else(|| unsafe { classify(breaker, ffi::PyErr_Occurred()) });
    if outcome == Outcome::Failure && breaker.may_open() {
        return settle_asked(py, this, permit, Some(outcome));
    }
    if let Some(change) = breaker.settle(permit, outcome) {
        announce_raised(py, this, change, outcome);
    }
}

/// As [`settle_raised`], where the exception itself is asked what it means, unless that is `known`, and for how long it keeps the
/// breaker open. Who interrupts that (Ctrl-C in a property) is heard once the call has settled.
#[cold]
fn settle_asked(py: Python<'_>, this: Object, permit: Permit, known: Option<Outcome>) {
    boundary::attached(|| {
        let Some(error) = PyErr::take(py) else { return };
        let settled = settle_by(py, this, permit, error.value(py), known);
        boundary::raise(py, settled.err().unwrap_or(error));
    });
}

/// Settle by an exception; whatever its judges raise, the call has settled.
pub fn settle_by(py: Python<'_>, this: Object, permit: Permit, error: &Bound<'_, PyBaseException>, known: Option<Outcome>) -> PyResult<()> {
    // SAFETY: as in `admit`.
    let breaker = unsafe { breaker_of(py, this) };
    let judged = known.map_or_else(|| classify_instance(breaker, error), Ok);
    let outcome = *judged.as_ref().unwrap_or(&Outcome::Ignored);
    let asked = if outcome == Outcome::Failure && breaker.may_open() { asked_for(py, breaker, Some(error), None) } else { Ok(0) };
    let least_open_ns = *asked.as_ref().unwrap_or(&0);
    let settled = settle_asking(py, this, permit, outcome, least_open_ns, || describe_failure(py, Some(error)));
    judged.and(asked).and(settled)
}

/// For how many seconds a caller says that the service wants to be left alone.
pub fn checked_retry_after(retry_after: &Bound<'_, PyAny>) -> PyResult<f64> {
    let recovery = retry_after.py().import("switchgear.recovery")?;
    recovery.call_method1("checked_retry_after", (retry_after,))?.extract()
}

/// How long the service wants to be left alone, in nanoseconds: `retry_after`, or the exception's.
pub fn asked_for(py: Python<'_>, breaker: &Breaker, error: Option<&Bound<'_, PyBaseException>>, retry_after: Option<f64>) -> PyResult<u64> {
    let least_open = py.import("switchgear.recovery")?.getattr("least_open")?;
    let seconds = least_open.call1((error, retry_after, breaker.configuration(py)))?.extract()?;
    Ok(if seconds > 0.0 { super::terms::to_ns(seconds) } else { 0 })
}

/// What an exception (or its class) says of the dependency.
///
/// # Safety
/// `error` is a live exception or exception class.
pub unsafe fn classify(breaker: &Breaker, error: Object) -> Outcome {
    // SAFETY: the caller's promise; the filters are exception classes or tuples of them, checked by CircuitBreakerConfig.
    let matches = |filter: Object| unsafe { ffi::PyErr_GivenExceptionMatches(error, filter) != 0 };
    // SAFETY: a static of the interpreter.
    let ordinary = matches(unsafe { ffi::PyExc_Exception });
    let judge = breaker.terms().judge.as_ref();
    if !ordinary || judge.is_some_and(|judge| judge.ignore.as_ref().is_some_and(|ignore| matches(raw(ignore)))) {
        Outcome::Ignored
    } else if judge.is_some_and(|judge| judge.record_only.as_ref().is_some_and(|only| !matches(raw(only)))) {
        Outcome::Success
    } else {
        Outcome::Failure
    }
}

/// As [`classify`], of an exception that there is: `config.classify` is asked first, of what is an `Exception`. An error is what
/// interrupted that: no `Exception`.
fn classify_instance(breaker: &Breaker, error: &Bound<'_, PyBaseException>) -> PyResult<Outcome> {
    let py = error.py();
    // A reference of our own, as in `judge`.
    if let Some(classify) = breaker.terms().judge.as_ref().and_then(|judge| judge.classify.as_ref()).map(|judge| judge.clone_ref(py))
        && error.is_instance_of::<PyException>()
    {
        match classify.bind(py).call1((error,)).and_then(|answer| known::outcome(&answer)) {
            Ok(Some(outcome)) => return Ok(outcome),
            Ok(None) => {}
            // The operation's own exception is the caller's; what the judge did wrong is told to whoever hears of such things.
            Err(mistake) if mistake.is_instance_of::<PyException>(py) => {
                let errors = py.import("switchgear.errors")?;
                errors.call_method1("report", (mistake.value(py),))?;
            }
            Err(interruption) => return Err(interruption),
        }
    }
    // SAFETY: an exception instance.
    Ok(unsafe { classify(breaker, error.as_ptr()) })
}

#[cold]
fn announce_raised(py: Python<'_>, this: Object, change: Change, outcome: Outcome) {
    boundary::attached(|| {
        // SAFETY: as in `admit`.
        let this = unsafe { Borrowed::from_ptr(py, this) };
        let Some(error) = PyErr::take(py) else { return };
        let failure = || match outcome {
            Outcome::Timeout => describe_timeout(&this),
            _ => describe_failure(py, Some(error.value(py))),
        };
        // Announced also where the description was interrupted: the state has changed.
        let described = if outcome == Outcome::Success { describe_success(&this, change) } else { describe(&this, change, failure) };
        let announced = announce(&this, change);
        boundary::raise(py, described.and(announced).err().unwrap_or(error));
    });
}

/// Settle with a known outcome, away from the hot path; `failure` describes what happened if it trips the breaker.
pub fn settle<'py>(
    py: Python<'py>,
    this: Object,
    permit: Permit,
    outcome: Outcome,
    failure: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<()> {
    settle_asking(py, this, permit, outcome, 0, failure)
}

/// As [`settle`], where the service asked not to be called for `least_open_ns`.
pub fn settle_asking<'py>(
    py: Python<'py>,
    this: Object,
    permit: Permit,
    outcome: Outcome,
    least_open_ns: u64,
    failure: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<()> {
    // SAFETY: as in `admit`.
    let (object, breaker) = unsafe { (Borrowed::from_ptr(py, this), breaker_of(py, this)) };
    match breaker.terms().plan.settle_asking(&breaker.block, permit, outcome, &breaker.clock, least_open_ns) {
        None => Ok(()),
        Some(change) => {
            let described =
                if outcome == Outcome::Success { describe_success(&object, change) } else { describe(&object, change, failure) };
            let announced = announce(&object, change);
            described.and(announced)
        }
    }
}

/// The description of our own timeout.
pub fn describe_timeout<'py>(this: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = this.py();
    // SAFETY: as in `admit`.
    let breaker = unsafe { breaker_of(py, this.as_ptr()) };
    known().describe_timeout.bind(py).call1((breaker.terms().timeout,))
}

/// The description of a failure that came as an exception, or as nothing.
pub fn describe_failure<'py>(py: Python<'py>, error: Option<&Bound<'py, PyBaseException>>) -> PyResult<Bound<'py, PyAny>> {
    known().describe_failure.bind(py).call1((error,))
}

/// Keep the text of the failure that tripped the breaker.
fn describe<'py>(this: &Bound<'py, PyAny>, change: Change, failure: impl FnOnce() -> PyResult<Bound<'py, PyAny>>) -> PyResult<()> {
    if change.to == State::Open {
        let text = failure()?.cast_into::<PyString>()?;
        // SAFETY: as in `admit`.
        unsafe { breaker_of(this.py(), this.as_ptr()) }.set_last_failure(text.unbind());
    }
    Ok(())
}

/// As [`describe`], of a success: it can trip, by being slow or by filling a window. Of the latter there is no failure to tell.
fn describe_success(this: &Bound<'_, PyAny>, change: Change) -> PyResult<()> {
    if change.slow_ns == 0 {
        if change.to == State::Open {
            // SAFETY: as in `admit`.
            unsafe { breaker_of(this.py(), this.as_ptr()) }.forget_last_failure();
        }
        return Ok(());
    }
    describe(this, change, || known().describe_slow.bind(this.py()).call1((seconds(Some(change.slow_ns)),)))
}

/// Tell Python of a change of state: the log and the listeners. An `Exception` of a listener is logged there and ends there.
#[cold]
pub fn announce(this: &Bound<'_, PyAny>, change: Change) -> PyResult<()> {
    let retry_after = (change.to == State::Open).then(|| seconds(change.retry_after_ns));
    let cause = match change.cause {
        Cause::Rule(met) => Some((met.rule, met.hits, met.calls).into_pyobject(this.py())?),
        Cause::Recovery => Some(PyTuple::empty(this.py())),
        Cause::SlowProbe => Some(PyTuple::new(this.py(), ["a probe was slow"])?),
        Cause::NoVerdict => Some(PyTuple::new(this.py(), ["the probes brought no verdict in time"])?),
        Cause::Ramp => Some(PyTuple::new(this.py(), ["the ramp is over"])?),
        Cause::Operator => None,
    };
    // SAFETY: as in `admit`.
    let jitter = unsafe { breaker_of(this.py(), this.as_ptr()) }.terms().plan.jitter(change);
    let arguments = (known::state(change.from), known::state(change.to), change.generation, change.now_ns, retry_after, cause, jitter);
    this.call_method1(&known().names.on_transition, arguments).map(drop)
}

#[cold]
fn announce_or_raise(py: Python<'_>, this: Object, change: Change) -> bool {
    boundary::attached(|| {
        // SAFETY: as in `admit`.
        let this = unsafe { Borrowed::from_ptr(py, this) };
        match announce(&this, change) {
            Ok(()) => true,
            Err(error) => {
                boundary::raise(py, error);
                false
            }
        }
    })
}
