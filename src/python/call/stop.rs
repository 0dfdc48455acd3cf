//! Returning a value to an interpreter that drives by `tp_iternext` (3.12 to 3.14): by a `StopIteration`, once a call.
//!
//! Making that exception anew costs as much as the rest of the call. So one is kept, and handed out again while nobody else holds it:
//! `await` takes its value and lets go of it at once. What it held is dropped with the call, so no result lives on in here.
//! `send` and `throw`, whose exceptions people may see, make one each.

use pyo3::exceptions::PyStopIteration;
use pyo3::ffi;
use pyo3::prelude::*;

use super::Object;
use crate::python::boundary;

/// Raise `StopIteration(value)`. A tuple or an exception has to be wrapped by hand: the interpreter would unpack it.
///
/// # Safety
/// `value` is a live object.
pub unsafe fn raise(py: Python<'_>, value: Object) {
    // SAFETY: the caller's promise.
    unsafe {
        if ffi::PyTuple_Check(value) != 0 || ffi::PyExceptionInstance_Check(value) != 0 {
            boundary::raise(py, PyStopIteration::new_err((Borrowed::from_ptr(py, value).to_owned().unbind(),)));
        } else {
            ffi::PyErr_SetObject(ffi::PyExc_StopIteration, value);
        }
    }
}

#[cfg(not(all(Py_3_12, not(Py_GIL_DISABLED))))]
pub use raise as raise_kept;

/// Nothing is kept here.
#[cfg(not(all(Py_3_12, not(Py_GIL_DISABLED))))]
#[inline(always)]
pub unsafe fn forget() {}

#[cfg(all(Py_3_12, not(Py_GIL_DISABLED)))]
pub use kept::{forget, raise_kept};

#[cfg(all(Py_3_12, not(Py_GIL_DISABLED)))]
mod kept {
    use std::ptr::null_mut;
    use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

    use pyo3::ffi;
    use pyo3::prelude::*;

    use super::{Object, raise};

    type StopIteration = ffi::PyStopIterationObject;

    /// The one that is kept, owned. Written and read by whoever holds the GIL.
    static KEPT: AtomicPtr<StopIteration> = AtomicPtr::new(null_mut());

    /// Raise `StopIteration(value)` for an `await`, by the one that is kept if nobody else holds it.
    ///
    /// # Safety
    /// As for [`raise`].
    pub unsafe fn raise_kept(py: Python<'_>, value: Object) {
        let kept = KEPT.load(Relaxed);
        // SAFETY: what is kept is a live StopIteration, and at a count of one it is ours alone to write to; `PyErr_SetRaisedException`
        // takes a reference of its own over.
        unsafe {
            if kept.is_null() {
                KEPT.store(ffi::PyObject_CallNoArgs(ffi::PyExc_StopIteration).cast(), Relaxed);
                ffi::PyErr_Clear();
                raise(py, value);
            } else if is_untouched(kept) {
                ffi::Py_INCREF(value);
                let old = std::mem::replace(&mut (*kept).value, value);
                ffi::Py_INCREF(kept.cast());
                ffi::PyErr_SetRaisedException(kept.cast());
                ffi::Py_XDECREF(old);
            } else {
                raise(py, value);
            }
        }
    }

    /// Let go of the last value: the call that gave it is gone.
    ///
    /// # Safety
    /// Attached. Drops a reference, so Python code may run.
    #[inline(always)]
    pub unsafe fn forget() {
        let kept = KEPT.load(Relaxed);
        // SAFETY: as above.
        unsafe {
            if kept.is_null() {
                return;
            }
            if !is_untouched(kept) {
                // Somebody drove a call by hand and has the exception, or left a traceback on it: it is theirs now.
                KEPT.store(null_mut(), Relaxed);
                ffi::Py_DECREF(kept.cast());
            } else if (*kept).value != ffi::Py_None() {
                let old = std::mem::replace(&mut (*kept).value, ffi::Py_NewRef(ffi::Py_None()));
                ffi::Py_XDECREF(old);
            }
        }
    }

    /// Whether nobody else holds it, and nobody has raised it through a Python frame.
    #[inline(always)]
    unsafe fn is_untouched(kept: *mut StopIteration) -> bool {
        // SAFETY: the caller passes what is kept.
        unsafe { ffi::Py_REFCNT(kept.cast()) == 1 && (*kept).traceback.is_null() && (*kept).context.is_null() }
    }
}
