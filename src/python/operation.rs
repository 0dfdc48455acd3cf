//! What an operation turned out to be: a value, something to await, or something that no call can protect.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use super::Object;
use super::boundary;
use super::known::unprotected;

/// What a call returned.
pub enum Kind {
    /// An ordinary value.
    Value,
    /// A coroutine, a future, anything else that `await` takes.
    Awaitable,
    /// Something that goes on working after the call: a generator, or a context manager made from one.
    Unprotected,
}

/// Say what `object` is. Values of builtin types, the usual case, are told by one field of their class.
#[inline(always)]
pub fn kind(py: Python<'_>, object: Object) -> Kind {
    // SAFETY: `object` is a live object, so its class is.
    unsafe { if (*ffi::Py_TYPE(object)).tp_as_async.is_null() { Kind::Value } else { kind_by_class(py, object) } }
}

#[inline(never)]
fn kind_by_class(py: Python<'_>, object: Object) -> Kind {
    // SAFETY: `object` is a live object, and its class has the async slots: `kind` looked.
    unsafe {
        let class = ffi::Py_TYPE(object);
        if (*(*class).tp_as_async).am_await.is_some() {
            return Kind::Awaitable;
        }
        if class == &raw mut ffi::PyGen_Type {
            return if is_iterable_coroutine(py, object) { Kind::Awaitable } else { Kind::Unprotected };
        }
        if class == &raw mut ffi::PyAsyncGen_Type || is_generator_manager(py, object) { Kind::Unprotected } else { Kind::Value }
    }
}

/// A generator made by `@types.coroutine`: it may be awaited, though its class has no `__await__`.
fn is_iterable_coroutine(py: Python<'_>, generator: Object) -> bool {
    const CO_ITERABLE_COROUTINE: u32 = 0x100;
    // SAFETY: `generator` is a live object.
    let generator = unsafe { Borrowed::from_ptr(py, generator) };
    boundary::attached(|| {
        let flags = generator.getattr("gi_code").and_then(|code| code.getattr("co_flags")).and_then(|flags| flags.extract::<u32>());
        flags.is_ok_and(|flags| flags & CO_ITERABLE_COROUTINE != 0)
    })
}

/// What `@contextmanager` and `@asynccontextmanager` functions return: their work begins after the call.
fn is_generator_manager(py: Python<'_>, object: Object) -> bool {
    static CLASSES: PyOnceLock<[Py<PyType>; 2]> = PyOnceLock::new();
    let find = || {
        let contextlib = py.import("contextlib")?;
        let class = |name| PyResult::Ok(contextlib.getattr(name)?.cast_into::<PyType>()?.unbind());
        PyResult::Ok([class("_GeneratorContextManager")?, class("_AsyncGeneratorContextManager")?])
    };
    let classes = CLASSES.get(py).or_else(|| boundary::attached(|| CLASSES.get_or_try_init(py, find).ok()));
    // SAFETY: plain tests on live classes.
    let is_one = |class: &Py<PyType>| unsafe { ffi::PyObject_TypeCheck(object, class.as_ptr().cast()) != 0 };
    classes.is_some_and(|classes| classes.iter().any(is_one))
}

/// Refuse a [`Kind::Unprotected`] result, which is owned: let go of it and raise `UnprotectedError`.
pub fn refuse_unprotected(py: Python<'_>, object: Object) {
    refuse(py, object, |class| {
        format!(
            "a call cannot protect a {class}, which does its work later: decorate its function with the breaker, or enter guard() inside it"
        )
    });
}

/// Refuse an awaitable, which is owned, where nothing will await it: let go of it and raise `UnprotectedError`. A coroutine is
/// closed, so that it does not complain as well.
pub fn refuse_awaitable(py: Python<'_>, object: Object) {
    boundary::attached(|| discard(py, object));
    refuse(py, object, |class| {
        format!("call_sync got an operation that returns a {class}, which has to be awaited; use `await breaker.call(...)`")
    });
}

fn refuse(py: Python<'_>, object: Object, text: impl FnOnce(String) -> String) {
    boundary::attached(|| {
        // SAFETY: `object` is a live object, and the reference is ours.
        let object = unsafe { Bound::from_owned_ptr(py, object) };
        let class = class_name(&object);
        drop(object);
        boundary::raise(py, unprotected(py, text(class)));
    });
}

/// The name of an object's class, for messages.
pub fn class_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| String::from("?"), |name| name.to_string())
}

/// Close a coroutine that nobody has begun, since nobody will. One that somebody is running is theirs.
pub fn discard(py: Python<'_>, object: Object) {
    if check_fresh(py, object).is_ok() {
        close_coroutine(py, object);
    }
}

/// Close a coroutine, or a call of ours. Futures and tasks run by themselves and are left alone; a generator needs no closing.
pub fn close_coroutine(py: Python<'_>, object: Object) {
    // SAFETY: `object` is a live object.
    unsafe {
        let class = ffi::Py_TYPE(object);
        if class != super::call::class_ptr() && class != &raw mut ffi::PyCoro_Type {
            return;
        }
        let object = Borrowed::from_ptr(py, object);
        if let Err(error) = object.call_method0("close") {
            error.write_unraisable(py, Some(&object));
        }
    }
}

/// The iterator that drives an awaitable: an owned reference, or null with an exception set.
///
/// # Safety
/// `object` is a live object of [`Kind::Awaitable`].
pub unsafe fn iterator(py: Python<'_>, object: Object) -> Object {
    // SAFETY: the caller's promise; the slots are checked before use.
    unsafe {
        let class = ffi::Py_TYPE(object);
        if class == &raw mut ffi::PyCoro_Type || class == &raw mut ffi::PyGen_Type {
            ffi::Py_INCREF(object);
            return object;
        }
        let slots = (*class).tp_as_async;
        let Some(am_await) = (if slots.is_null() { None } else { (*slots).am_await }) else {
            boundary::raise(py, PyTypeError::new_err("the operation is neither callable nor awaitable"));
            return std::ptr::null_mut();
        };
        let iterator = am_await(object);
        if !iterator.is_null() && (*ffi::Py_TYPE(iterator)).tp_iternext.is_none() {
            ffi::Py_DECREF(iterator);
            boundary::raise(py, PyTypeError::new_err("__await__() returned no iterator"));
            return std::ptr::null_mut();
        }
        iterator
    }
}

/// An error if a coroutine, or a call of ours, has run before, and so cannot be run as a call of its own.
pub fn check_fresh(py: Python<'_>, object: Object) -> PyResult<()> {
    let spent = || unprotected(py, "cannot call through a coroutine that was already awaited");
    // SAFETY: `object` is a live object, and a call of ours if it has that class.
    let object = unsafe {
        if ffi::Py_TYPE(object) == super::call::class_ptr() {
            return if super::call::is_fresh(object) { Ok(()) } else { Err(spent()) };
        }
        if ffi::Py_TYPE(object) != &raw mut ffi::PyCoro_Type {
            return Ok(());
        }
        Borrowed::from_ptr(py, object)
    };
    let started = object.getattr("cr_running")?.is_truthy()? || object.getattr("cr_suspended")?.is_truthy()?;
    if started || object.getattr("cr_frame")?.is_none() {
        return Err(spent());
    }
    Ok(())
}
