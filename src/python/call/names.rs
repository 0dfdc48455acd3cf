//! What a call is called: debuggers, and the repr of a task, ask an awaitable for what coroutines have. It answers with the
//! operation's, so a thousand calls in flight can be told apart.

use std::ffi::{CStr, c_void};
use std::ptr::null_mut;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyString};

use super::{Call, Object, Phase};
use crate::python::boundary;

/// The getters, for the class; they end with an empty one.
pub fn getters() -> [ffi::PyGetSetDef; 7] {
    [
        getter(c"__name__", text),
        getter(c"__qualname__", text),
        getter(c"cr_code", forwarded),
        getter(c"cr_frame", forwarded),
        getter(c"cr_await", forwarded),
        getter(c"cr_running", is_running),
        ffi::PyGetSetDef::default(),
    ]
}

fn getter(name: &'static CStr, get: ffi::getter) -> ffi::PyGetSetDef {
    ffi::PyGetSetDef { name: name.as_ptr(), get: Some(get), set: None, doc: std::ptr::null(), closure: name.as_ptr().cast_mut().cast() }
}

/// The attribute of the operation, or of the coroutine that it gave, that the getter is named for.
unsafe fn of_target(py: Python<'_>, this: Object, closure: *mut c_void) -> Option<Bound<'_, PyAny>> {
    // SAFETY: the interpreter passes a live call, whose target is live or null, and the closure that `getter` set: a literal.
    unsafe {
        let target = (*this.cast::<Call>()).target;
        let name = PyString::new(py, &CStr::from_ptr(closure.cast()).to_string_lossy());
        if target.is_null() { None } else { Borrowed::from_ptr(py, target).getattr(name).ok() }
    }
}

unsafe extern "C" fn text(this: Object, closure: *mut c_void) -> Object {
    boundary::enter_cold(null_mut(), |py| {
        // SAFETY: as in `of_target`.
        unsafe { of_target(py, this, closure) }.unwrap_or_else(|| PyString::new(py, "call").into_any()).into_ptr()
    })
}

unsafe extern "C" fn forwarded(this: Object, closure: *mut c_void) -> Object {
    boundary::enter_cold(null_mut(), |py| {
        // SAFETY: as in `of_target`.
        unsafe { of_target(py, this, closure) }.map_or_else(|| py.None().into_ptr(), Bound::into_ptr)
    })
}

unsafe extern "C" fn is_running(this: Object, _: *mut c_void) -> Object {
    boundary::enter_cold(null_mut(), |py| {
        // SAFETY: the interpreter passes a live call.
        let running = unsafe { (*this.cast::<Call>()).phase == Phase::Running };
        PyBool::new(py, running).to_owned().into_any().into_ptr()
    })
}
