//! The callable that the decorator returns: a function's stand-in that runs each call through the breaker.
//!
//! It is called through the vectorcall protocol, and forwards what it does not have itself to the function, so that `inspect`
//! takes it for one. There are two classes of it: one binds as a method, as functions do; the other does not, as callable objects,
//! partials and bound methods do not. The interpreter wants to know that of the class.

use std::ffi::{c_int, c_void};
use std::mem::offset_of;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::Object;
use super::boundary;
use super::breaker::Breaker;
use super::call::{self, Given};
use super::class::{make_class, member, method, slot};
use super::operation::{self, Kind};
use super::trash;
use super::verdict;
use crate::breaker::{Outcome, Permit};

/// The object.
#[repr(C)]
struct Guarded {
    base: ffi::PyObject,
    vectorcall: ffi::vectorcallfunc,
    breaker: Object,
    function: Object,
    dict: Object,
    weak_references: Object,
}

/// Run a callable through the breaker; `on_awaitable` says what to do with a result that has to be awaited.
///
/// # Safety
/// As for a vectorcall of `callable`; `breaker` is a breaker.
#[inline(always)]
pub unsafe fn run(
    py: Python<'_>,
    breaker: Object,
    callable: Object,
    arguments: *const Object,
    flags: usize,
    names: Object,
    on_awaitable: impl FnOnce(Python<'_>, Permit, Object) -> Object,
) -> Object {
    let Some(permit) = verdict::admit(py, breaker) else { return null_mut() };
    // SAFETY: the caller's promise; `result` is owned.
    unsafe {
        let result = ffi::PyObject_Vectorcall(callable, arguments, flags, names);
        if result.is_null() {
            verdict::settle_raised(py, breaker, permit, None);
            return null_mut();
        }
        match operation::kind(py, result) {
            Kind::Value => {
                if verdict::settle_value(py, breaker, permit, result) {
                    return result;
                }
                ffi::Py_DECREF(result);
                null_mut()
            }
            Kind::Awaitable => on_awaitable(py, permit, result),
            Kind::Unprotected => {
                operation::refuse_unprotected(py, result);
                verdict::settle_raised(py, breaker, permit, Some(Outcome::Ignored));
                null_mut()
            }
        }
    }
}

unsafe extern "C" fn call_function(this: Object, arguments: *const Object, flags: usize, names: Object) -> Object {
    boundary::enter(null_mut(), |py| {
        let guarded: *mut Guarded = this.cast();
        // SAFETY: the interpreter passes a live object of this class, which owns its fields, and a vectorcall's arguments.
        unsafe {
            let breaker = (*guarded).breaker;
            run(py, breaker, (*guarded).function, arguments, flags, names, |py, permit, result| {
                // What is awaited later is protected until then: the call holds the permit.
                let call = call::of_admitted(py, breaker, result, permit);
                ffi::Py_DECREF(result);
                if call.is_null() {
                    verdict::settle_raised(py, breaker, permit, Some(Outcome::Ignored));
                }
                call
            })
        }
    })
}

/// As `call_function`, of a function that is guarded itself: nothing but this counts how deep such a chain goes.
unsafe extern "C" fn call_guarded(this: Object, arguments: *const Object, flags: usize, names: Object) -> Object {
    // SAFETY: as in `call_function`; what was entered is left.
    unsafe {
        if ffi::Py_EnterRecursiveCall(c" while calling a guarded function".as_ptr()) != 0 {
            return null_mut();
        }
        let result = call_function(this, arguments, flags, names);
        ffi::Py_LeaveRecursiveCall();
        result
    }
}

unsafe extern "C" fn call_coroutine_function(this: Object, arguments: *const Object, flags: usize, names: Object) -> Object {
    boundary::enter(null_mut(), |py| {
        let guarded: *mut Guarded = this.cast();
        // SAFETY: as in `call_function`.
        unsafe {
            let given = Given { first: arguments, positional: flags & !ffi::PY_VECTORCALL_ARGUMENTS_OFFSET, names };
            call::of_callable(py, (*guarded).breaker, (*guarded).function, given)
        }
    })
}

unsafe extern "C" fn new(class: *mut ffi::PyTypeObject, arguments: Object, keywords: Object) -> Object {
    boundary::enter_cold(null_mut(), |py| {
        // SAFETY: the interpreter passes a tuple, and a dictionary or null.
        let (arguments, keywords) = unsafe {
            (Borrowed::from_ptr(py, arguments).to_owned().cast_into_unchecked::<PyTuple>(), Borrowed::from_ptr_or_opt(py, keywords))
        };
        if keywords.is_some_and(|keywords| keywords.cast::<PyDict>().is_ok_and(|keywords| !keywords.is_empty())) {
            boundary::raise(py, PyTypeError::new_err("GuardedFunction() takes no keyword arguments"));
            return null_mut();
        }
        match arguments.extract::<(Bound<'_, Breaker>, Bound<'_, PyAny>, bool)>() {
            Err(error) => {
                boundary::raise(py, error);
                null_mut()
            }
            // SAFETY: the class is ours, so its allocator gives zeroed memory of our size; each field is written.
            Ok((breaker, function, is_async)) => unsafe {
                let binds = (*ffi::Py_TYPE(function.as_ptr())).tp_descr_get.is_some() && !is_bound_method(&function);
                let class = if binds { class } else { UNBOUND.load(Relaxed) };
                let allocate = (*class).tp_alloc.expect("a class made by PyType_FromSpec has an allocator");
                let guarded: *mut Guarded = allocate(class, 0).cast();
                if !guarded.is_null() {
                    let is_guarded = is_guarded(ffi::Py_TYPE(function.as_ptr()));
                    (*guarded).vectorcall = match (is_async, is_guarded) {
                        (true, _) => call_coroutine_function,
                        (false, true) => call_guarded,
                        (false, false) => call_function,
                    };
                    (*guarded).breaker = breaker.into_ptr();
                    (*guarded).function = function.into_ptr();
                }
                guarded.cast()
            },
        }
    })
}

/// Whether this is one of our two classes.
fn is_guarded(class: *mut ffi::PyTypeObject) -> bool {
    [&BOUND, &UNBOUND].iter().any(|ours| ours.load(Relaxed) == class)
}

/// A bound method has its `self` already, and keeps it.
fn is_bound_method(function: &Bound<'_, PyAny>) -> bool {
    let class = function.py().import("types").and_then(|types| types.getattr("MethodType"));
    class.is_ok_and(|class| function.is_instance(&class).unwrap_or(false))
}

unsafe extern "C" fn get_attribute(this: Object, name: Object) -> Object {
    // SAFETY: the interpreter passes a live object of this class and a string.
    unsafe {
        let found = ffi::PyObject_GenericGetAttr(this, name);
        if !found.is_null() || ffi::PyErr_ExceptionMatches(ffi::PyExc_AttributeError) == 0 {
            return found;
        }
        ffi::PyErr_Clear();
        let function = (*this.cast::<Guarded>()).function;
        if function.is_null() { found } else { ffi::PyObject_GetAttr(function, name) }
    }
}

unsafe extern "C" fn bind(this: Object, instance: Object, _: Object) -> Object {
    // SAFETY: the interpreter passes a live object of this class, and an instance, None or null.
    unsafe {
        if instance.is_null() || instance == ffi::Py_None() {
            ffi::Py_INCREF(this);
            return this;
        }
        PyMethod_New(this, instance)
    }
}

unsafe extern "C" fn represent(this: Object) -> Object {
    boundary::enter_cold(null_mut(), |py| {
        // SAFETY: the interpreter passes a live object of this class, which owns its fields.
        let (function, breaker) = unsafe {
            let guarded: *mut Guarded = this.cast();
            (Borrowed::from_ptr(py, (*guarded).function), Borrowed::from_ptr(py, (*guarded).breaker))
        };
        let text = function.repr().and_then(|function| Ok(format!("<{function} guarded by {}>", breaker.getattr("name")?.repr()?)));
        match text.and_then(|text| Ok(text.into_pyobject(py)?)) {
            Ok(text) => text.into_ptr(),
            Err(error) => {
                boundary::raise(py, error);
                null_mut()
            }
        }
    })
}

unsafe extern "C" fn reduce(this: Object, _: Object) -> Object {
    // SAFETY: the interpreter passes a live object of this class. By name, like the function that it stands for.
    unsafe { ffi::PyObject_GetAttrString(this, c"__qualname__".as_ptr()) }
}

unsafe extern "C" fn traverse(this: Object, visit: ffi::visitproc, argument: *mut c_void) -> c_int {
    let guarded: *mut Guarded = this.cast();
    // SAFETY: the collector passes a live object of this class.
    unsafe {
        let class = ffi::Py_TYPE(this).cast();
        for object in [class, (*guarded).breaker, (*guarded).function, (*guarded).dict] {
            if !object.is_null() {
                let answer = visit(object, argument);
                if answer != 0 {
                    return answer;
                }
            }
        }
        0
    }
}

unsafe extern "C" fn clear(this: Object) -> c_int {
    let guarded: *mut Guarded = this.cast();
    // SAFETY: the collector passes a live object of this class. The function and the dictionary can close a cycle; the breaker
    // stays, so that the object can still be called by a finalizer.
    unsafe {
        let dict = std::mem::replace(&mut (*guarded).dict, null_mut());
        ffi::Py_XDECREF(dict);
    }
    0
}

unsafe extern "C" fn dealloc(this: Object) {
    // SAFETY: the last reference is gone.
    unsafe {
        ffi::PyObject_GC_UnTrack(this.cast());
        trash::end(this, end);
    }
}

unsafe fn end(this: Object) {
    let guarded: *mut Guarded = this.cast();
    // SAFETY: the last reference is gone; the object owns its fields.
    unsafe {
        if !(*guarded).weak_references.is_null() {
            ffi::PyObject_ClearWeakRefs(this);
        }
        let class = ffi::Py_TYPE(this);
        let owned = [(*guarded).breaker, (*guarded).function, (*guarded).dict];
        ffi::PyObject_GC_Del(this.cast());
        for object in owned {
            ffi::Py_XDECREF(object);
        }
        ffi::Py_DECREF(class.cast());
    }
}

unsafe extern "C" {
    // Neither is declared, or resolves, everywhere in pyo3-ffi.
    fn PyMethod_New(function: Object, this: Object) -> Object;
    fn PyVectorcall_Call(callable: Object, arguments: Object, keywords: Object) -> Object;
}

/// Make the class.
pub fn class(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let methods = Box::leak(Box::new([
        method(c"__reduce__", ffi::PyMethodDefPointer { PyCFunction: reduce }, ffi::METH_NOARGS, c"Pickle by name."),
        ffi::PyMethodDef::zeroed(),
    ]));
    let members = Box::leak(Box::new([
        member(c"__vectorcalloffset__", offset_of!(Guarded, vectorcall)),
        member(c"__dictoffset__", offset_of!(Guarded, dict)),
        member(c"__weaklistoffset__", offset_of!(Guarded, weak_references)),
        ffi::PyMemberDef::default(),
    ]));
    let getters = Box::leak(Box::new([
        ffi::PyGetSetDef {
            name: c"__dict__".as_ptr(),
            get: Some(ffi::PyObject_GenericGetDict),
            set: Some(ffi::PyObject_GenericSetDict),
            doc: std::ptr::null(),
            closure: null_mut(),
        },
        ffi::PyGetSetDef::default(),
    ]));
    let mut slots = [
        slot(ffi::Py_tp_new, new as *mut c_void),
        slot(ffi::Py_tp_call, PyVectorcall_Call as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_traverse, traverse as *mut c_void),
        slot(ffi::Py_tp_clear, clear as *mut c_void),
        slot(ffi::Py_tp_getattro, get_attribute as *mut c_void),
        slot(ffi::Py_tp_repr, represent as *mut c_void),
        slot(ffi::Py_tp_methods, methods.as_mut_ptr().cast()),
        slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
        slot(ffi::Py_tp_getset, getters.as_mut_ptr().cast()),
        slot(0, null_mut()),
        slot(0, null_mut()),
    ];
    let flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_HAVE_VECTORCALL;
    let unbound = make_class(py, c"switchgear._native.GuardedObject", size_of::<Guarded>(), flags, &mut slots)?;
    UNBOUND.store(unbound.into_ptr().cast(), Relaxed);

    let last = slots.len() - 2;
    slots[last] = slot(ffi::Py_tp_descr_get, bind as *mut c_void);
    let flags = flags | ffi::Py_TPFLAGS_METHOD_DESCRIPTOR;
    let bound = make_class(py, c"switchgear._native.GuardedFunction", size_of::<Guarded>(), flags, &mut slots)?;
    BOUND.store(bound.as_ptr().cast(), Relaxed);
    Ok(bound)
}

/// The class of those that bind. The module owns it.
static BOUND: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(null_mut());

/// The class of those that do not bind. Owned, for ever.
static UNBOUND: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(null_mut());
