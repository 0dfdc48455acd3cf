//! What the interpreter calls: the awaitable, iterator and coroutine protocols, the collector, the end of the object.
//!
//! `await` drives through `am_send` (3.11, and again from 3.15) or `tp_iternext` (3.12 to 3.14); `send`, `throw` and `close` make a call a
//! coroutine in the eyes of asyncio.

use std::ffi::{CString, c_int, c_void};
use std::ptr::{addr_of_mut, null_mut};
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use pyo3::exceptions::{PyRuntimeWarning, PyStopIteration, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use super::arguments::Arguments;
use super::{Admission, Call, Phase, Step, memory, names, stop};
use crate::python::class::{make_class, method, slot};
use crate::python::known::known;
use crate::python::verdict::breaker_of;
use crate::python::{Object, boundary, operation, timer, trash};

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
                Step::Raised => {
                    Call::no_stop_iteration(py);
                    (ffi::PySendResult::PYGEN_ERROR, null_mut())
                }
            };
            *result = object;
            status
        }
    })
}

unsafe extern "C" fn iternext(this: Object) -> Object {
    boundary::enter(null_mut(), |py| {
        // SAFETY: the interpreter passes a live object of this class.
        unsafe { hand_out(py, Call::send(py, this.cast(), ffi::Py_None()), return_to_await) }
    })
}

unsafe extern "C" fn send(this: Object, value: Object) -> Object {
    boundary::enter(null_mut(), |py| {
        // SAFETY: the interpreter passes a live object of this class.
        unsafe { hand_out(py, Call::send(py, this.cast(), value), stop::raise) }
    })
}

/// The iterator protocol's form of a step: a value yielded, or null with `StopIteration` or the exception set.
#[allow(clippy::needless_pass_by_value)] // a step hands over what it owns
unsafe fn hand_out(py: Python<'_>, step: Step, raise: unsafe fn(Python<'_>, Object)) -> Object {
    // SAFETY: a returned object is owned, and let go here.
    unsafe {
        match step {
            Step::Yielded(object) => object,
            Step::Raised => {
                Call::no_stop_iteration(py);
                null_mut()
            }
            Step::Returned(value) => {
                raise(py, value);
                ffi::Py_DECREF(value);
                null_mut()
            }
        }
    }
}

/// What `await` takes from `tp_iternext` for a returned value: nothing at all for None.
unsafe fn return_to_await(py: Python<'_>, value: Object) {
    // SAFETY: `value` is a live object.
    unsafe {
        if value != ffi::Py_None() {
            stop::raise_kept(py, value);
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
            hand_out(py, step, stop::raise)
        }
    })
}

/// Pass an exception on to the operation, and go on with what comes of it.
unsafe fn throw_into(py: Python<'_>, call: *mut Call, arguments: *const Object, count: ffi::Py_ssize_t) -> Step {
    // SAFETY: as in `throw`.
    unsafe {
        let target = Borrowed::from_ptr(py, (*call).target).to_owned();
        let given: Vec<_> = (0..count.cast_unsigned()).map(|index| Borrowed::from_ptr(py, *arguments.add(index)).to_owned()).collect();
        let Ok(method) = target.getattr(&known().names.throw) else {
            // An iterator without `throw` cannot hear of it: the exception ends the call, as `yield from` would have it.
            boundary::raise(py, raise_given(py, arguments, count));
            return Call::leave_raised(py, call);
        };
        let yielded = PyTuple::new(py, given).and_then(|given| method.call1(given));
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
                Phase::Callable => Call::abandon(py, call),
                Phase::Awaitable => {
                    operation::discard(py, (*call).target);
                    Call::abandon(py, call);
                }
                Phase::Suspended => {
                    let target = Borrowed::from_ptr(py, (*call).target).to_owned();
                    let closed = match target.getattr(&known().names.close) {
                        Ok(method) => method.call0().map(drop),
                        Err(_) => Ok(()),
                    };
                    // As on any way out, a cancellation of ours is taken back.
                    timer::end(py, addr_of_mut!((*call).alarm));
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
        for object in [class, (*call).breaker, (*call).target, (*call).holder, alarm[0], alarm[1]] {
            if !object.is_null() {
                let answer = visit(object, argument);
                if answer != 0 {
                    return answer;
                }
            }
        }
        for object in Arguments::owned(addr_of_mut!((*call).arguments)) {
            let answer = if object.is_null() { 0 } else { visit(object, argument) };
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
            (*call).tracked = false;
            ffi::PyObject_GC_UnTrack(this.cast());
        }
        if (*call).phase == Phase::Done { free(this) } else { trash::end(this, end) }
    }
}

/// The end of a call that holds an operation.
unsafe fn end(this: Object) {
    boundary::enter_cold((), |py| {
        // SAFETY: as in `dealloc`.
        unsafe { end_unfinished(py, this.cast()) };
    });
    // SAFETY: as in `dealloc`.
    unsafe { free(this) };
}

/// The end of a call that holds nothing any more but its breaker.
#[inline(always)]
unsafe fn free(this: Object) {
    let call: *mut Call = this.cast();
    // SAFETY: as in `dealloc`.
    unsafe {
        let (breaker, holder) = ((*call).breaker, (*call).holder);
        let class = ffi::Py_TYPE(this);
        memory::release(call);
        stop::forget();
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
            let text = CString::new(text).unwrap_or_default();
            if let Err(error) = PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &text, 1) {
                error.write_unraisable(py, None);
            }
            if (*call).phase == Phase::Awaitable {
                operation::discard(py, (*call).target);
            }
        }
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
        slot(ffi::Py_tp_getset, Box::leak(Box::new(names::getters())).as_mut_ptr().cast()),
        slot(ffi::Py_am_await, am_await as *mut c_void),
        slot(ffi::Py_am_send, am_send as *mut c_void),
        slot(ffi::Py_tp_doc, c"A call through a breaker, to be awaited once.".as_ptr() as *mut c_void),
        slot(0, null_mut()),
    ];
    let flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION | ffi::Py_TPFLAGS_IMMUTABLETYPE;
    let class = make_class(py, c"switchgear._native.Call", size_of::<Call>(), flags, &mut slots)?;
    CLASS.store(class.as_ptr().cast(), Relaxed);
    Ok(class)
}
