//! How a call with a timeout begins under trio: inside a scope of trio's, since one that is entered late would break its stack of
//! scopes.

use std::ptr::addr_of_mut;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering::Relaxed};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use super::Call;
use super::arguments::{Arguments, Given};
use crate::python::known::{known, raw};
use crate::python::verdict::breaker_of;
use crate::python::{asyncio, boundary, timer};

/// Whether this may be a trio task: trio was imported, and no asyncio task is what runs here.
///
/// Many a program has trio imported, by a library that knows both, and runs asyncio. And while it is not imported it is looked for
/// only when the number of loaded modules has changed: a look-up a call would cost more than admission.
#[inline(always)]
pub fn is_possible(py: Python<'_>) -> bool {
    static WITHOUT_TRIO: AtomicIsize = AtomicIsize::new(-1);
    // SAFETY: `sys.modules` is a dictionary.
    let count = unsafe { ffi::PyDict_Size(raw(&known().modules)) };
    count != WITHOUT_TRIO.load(Relaxed) && is_imported(py, count, &WITHOUT_TRIO) && !boundary::attached(|| asyncio::runs_task(py))
}

#[inline(never)]
fn is_imported(py: Python<'_>, count: isize, without_trio: &AtomicIsize) -> bool {
    static IMPORTED: AtomicBool = AtomicBool::new(false);
    if !IMPORTED.load(Relaxed) {
        let is_there = boundary::attached(|| known().modules.bind(py).contains(&known().names.trio).unwrap_or(true));
        IMPORTED.store(is_there, Relaxed);
        without_trio.store(if is_there { -1 } else { count }, Relaxed);
    }
    IMPORTED.load(Relaxed)
}

impl Call {
    /// Under trio the deadline is trio's: put the operation into a coroutine that has one. False: trio does not run here, or there is no
    /// limit.
    pub(super) unsafe fn hand_to_trio(py: Python<'_>, call: *mut Self, is_callable: bool) -> bool {
        // SAFETY: as in `send`; the arguments lie where `make` put them.
        unsafe {
            // Asked now: another configuration may have set a limit, or taken it away, since the call was made.
            let timeout = breaker_of(py, (*call).breaker).terms().timeout;
            if !timeout.is_finite() {
                return false;
            }
            let coroutine = py.import("switchgear._trio").and_then(|bridge| {
                if !bridge.call_method0("in_trio")?.is_truthy()? {
                    return Ok(None);
                }
                let breaker = breaker_of(py, (*call).breaker);
                let operation = Borrowed::from_ptr(py, (*call).target);
                let (positional, keywords) = arguments_of(py, call)?;
                let expired = PyList::empty(py);
                timer::watch(addr_of_mut!((*call).alarm), timeout, expired.clone().into_any());
                let arguments = (&breaker.name, timeout, operation, positional, keywords, expired);
                bridge.call_method1(if is_callable { "call_with_deadline" } else { "await_with_deadline" }, arguments).map(Some)
            });
            if let Ok(None) = coroutine {
                return false;
            }
            (*call).timed = false;
            Self::forget_target(call);
            Arguments::forget(addr_of_mut!((*call).arguments));
            match coroutine {
                Ok(Some(coroutine)) => (*call).target = coroutine.into_ptr(),
                Ok(None) => {}
                Err(error) => boundary::raise(py, error),
            }
            true
        }
    }
}

/// The arguments of a call, as Python has them.
unsafe fn arguments_of(py: Python<'_>, call: *mut Call) -> PyResult<(Bound<'_, PyTuple>, Bound<'_, PyDict>)> {
    // SAFETY: the call's arguments were written, and it owns them.
    unsafe {
        let Given { first, positional, names } = Arguments::given(addr_of_mut!((*call).arguments));
        let argument = |index| Borrowed::from_ptr(py, *first.add(index)).to_owned();
        let keywords = PyDict::new(py);
        if !names.is_null() {
            let names = Borrowed::from_ptr(py, names).cast_unchecked::<PyTuple>();
            for (index, name) in names.iter().enumerate() {
                keywords.set_item(name, argument(positional + index))?;
            }
        }
        Ok((PyTuple::new(py, (0..positional).map(argument))?, keywords))
    }
}
