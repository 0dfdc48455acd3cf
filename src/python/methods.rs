//! The hot methods of the breaker, as raw method descriptors: `call`, `call_sync`, `acquire`, `try_acquire`.
//!
//! They are put onto the `PyO3` class when the module loads, and onto each class derived from it. The descriptor has checked `self` before it calls us.

use std::ffi::CStr;
use std::ptr::null_mut;
use std::sync::OnceLock;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::Object;
use super::boundary;
use super::breaker::Breaker;
use super::call::{self, Given};
use super::class::method;
use super::guarded;
use super::known::unprotected;
use super::operation::{self, Kind};
use super::permit::Permit;
use super::verdict;

/// `await breaker.call(operation, *args, **kwargs)`
unsafe extern "C" fn call_(this: Object, arguments: *const Object, count: ffi::Py_ssize_t, names: Object) -> Object {
    boundary::enter(null_mut(), |py| {
        // SAFETY: the interpreter passes a breaker, `count` arguments, and one more for each of `names`.
        unsafe {
            if count < 1 {
                return refuse_nothing(py, "call");
            }
            let operation = *arguments;
            if ffi::PyCallable_Check(operation) != 0 {
                let given = Given { first: arguments.add(1), positional: count.cast_unsigned() - 1, names };
                return call::of_callable(py, this, operation, given);
            }
            call_awaitable(py, this, operation, count, names)
        }
    })
}

#[cold]
unsafe fn call_awaitable(py: Python<'_>, this: Object, operation: Object, count: ffi::Py_ssize_t, names: Object) -> Object {
    // SAFETY: as in `call_`.
    unsafe {
        if !matches!(operation::kind(py, operation), Kind::Awaitable) {
            return refuse_type(py, "call", "a callable or an awaitable", operation);
        }
        if count > 1 || !names.is_null() {
            boundary::attached(|| operation::close_coroutine(py, operation));
            boundary::raise(py, unprotected(py, "an awaitable takes no arguments: give call() the function and its arguments"));
            return null_mut();
        }
        call::of_awaitable(py, this, operation)
    }
}

/// `breaker.call_sync(operation, *args, **kwargs)`
unsafe extern "C" fn call_sync(this: Object, arguments: *const Object, count: ffi::Py_ssize_t, names: Object) -> Object {
    boundary::enter(null_mut(), |py| {
        // SAFETY: as in `call_`.
        unsafe {
            if count < 1 {
                return refuse_nothing(py, "call_sync");
            }
            let operation = *arguments;
            if ffi::PyCallable_Check(operation) == 0 {
                return refuse_type(py, "call_sync", "a callable", operation);
            }
            // No PY_VECTORCALL_ARGUMENTS_OFFSET: the place before the first argument is not ours to lend. It may lie in a tuple that
            // others read (`call_sync(*t)`, functools.partial), and the callee would leave its `self` there while it runs.
            let flags = count.cast_unsigned() - 1;
            guarded::run(py, this, operation, arguments.add(1), flags, names, |py, permit, result| {
                operation::refuse_awaitable(py, result);
                verdict::settle_raised(py, this, permit, Some(crate::breaker::Outcome::Ignored));
                null_mut()
            })
        }
    })
}

/// `breaker.acquire()`
unsafe extern "C" fn acquire(this: Object, _: Object) -> Object {
    boundary::enter(null_mut(), |py| verdict::admit(py, this).map_or(null_mut(), |permit| Permit::hand_out(py, this, permit)))
}

/// `breaker.try_acquire()`
unsafe extern "C" fn try_acquire(this: Object, _: Object) -> Object {
    boundary::enter(null_mut(), |py| match verdict::try_admit(py, this) {
        Some(permit) => Permit::hand_out(py, this, permit),
        // SAFETY: attached, so the interpreter's state can be asked, and None is there to be shared.
        None => unsafe { if ffi::PyErr_Occurred().is_null() { ffi::Py_NewRef(ffi::Py_None()) } else { null_mut() } },
    })
}

/// `breaker._timed(awaitable, permit)`
unsafe extern "C" fn timed(this: Object, arguments: *mut Object, count: ffi::Py_ssize_t) -> Object {
    boundary::enter(null_mut(), |py| {
        // SAFETY: the interpreter passes a breaker and `count` arguments.
        unsafe {
            if count != 2 {
                return refuse_nothing(py, "_timed");
            }
            let awaitable = *arguments;
            if matches!(operation::kind(py, awaitable), Kind::Awaitable) {
                call::of_step(py, this, awaitable, *arguments.add(1))
            } else {
                refuse_type(py, "_timed", "an awaitable", awaitable)
            }
        }
    })
}

#[cold]
fn refuse_nothing(py: Python<'_>, method: &str) -> Object {
    boundary::raise(py, unprotected(py, format!("{method}() needs an operation as its first argument")));
    null_mut()
}

#[cold]
unsafe fn refuse_type(py: Python<'_>, method: &str, wanted: &str, operation: Object) -> Object {
    boundary::attached(|| {
        // SAFETY: `operation` is a live object.
        let operation = unsafe { Borrowed::from_ptr(py, operation) };
        let class = operation::class_name(&operation);
        boundary::raise(py, unprotected(py, format!("{method}() needs {wanted}, not {class}")));
    });
    null_mut()
}

/// Put the methods onto a class: the breaker's own, and each class derived from it that inherits them.
///
/// The interpreter calls a method descriptor by the short way only if it belongs to the very class of the instance; to find
/// that out for a base class takes longer than admission and settlement together.
pub fn attach(class: &Bound<'_, PyType>) -> PyResult<()> {
    static DEFINITIONS: OnceLock<[Definition; 5]> = OnceLock::new();
    let py = class.py();
    for Definition(definition) in DEFINITIONS.get_or_init(definitions) {
        // SAFETY: the names are literals.
        let name = unsafe { CStr::from_ptr(definition.ml_name) }.to_string_lossy();
        if let Some(inherited) = class.getattr_opt(name.as_ref())?
            && !is_ours(&inherited)
        {
            continue;
        }
        // SAFETY: `class` is a type, the definition lives for ever (and is only read), the descriptor is a new reference.
        let descriptor = unsafe {
            let descriptor = ffi::PyDescr_NewMethod(class.as_type_ptr(), (&raw const *definition).cast_mut());
            Bound::from_owned_ptr_or_err(py, descriptor)?
        };
        class.setattr(name.as_ref(), descriptor)?;
    }
    Ok(())
}

/// Whether a class's attribute is one of these descriptors, and not what a subclass put in its place.
fn is_ours(attribute: &Bound<'_, PyAny>) -> bool {
    // SAFETY: a plain type test on a live object.
    let is_descriptor = unsafe { ffi::Py_TYPE(attribute.as_ptr()) == &raw mut ffi::PyMethodDescr_Type };
    let owner = attribute.getattr("__objclass__").and_then(|owner| Ok(owner.cast_into::<PyType>()?));
    is_descriptor && owner.is_ok_and(|owner| owner.is_subclass_of::<Breaker>().unwrap_or(false))
}

/// A method definition: literals and functions.
struct Definition(ffi::PyMethodDef);

// SAFETY: the pointers in it lead to literals and functions, which are there for everybody and for ever.
unsafe impl Send for Definition {}
// SAFETY: as above; nobody writes to a definition.
unsafe impl Sync for Definition {}

fn definitions() -> [Definition; 5] {
    let fast = |function| ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: function };
    let plain = |function| ffi::PyMethodDefPointer { PyCFunction: function };
    let with_keywords = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;
    [
        method(c"call", fast(call_), with_keywords, CALL),
        method(c"call_sync", fast(call_sync), with_keywords, CALL_SYNC),
        method(c"acquire", plain(acquire), ffi::METH_NOARGS, ACQUIRE),
        method(c"try_acquire", plain(try_acquire), ffi::METH_NOARGS, TRY_ACQUIRE),
        method(c"_timed", ffi::PyMethodDefPointer { PyCFunctionFast: timed }, ffi::METH_FASTCALL, TIMED),
    ]
    .map(Definition)
}

const CALL: &CStr = c"call($self, operation, /, *args, **kwargs)
--

Return an awaitable that runs one operation through the breaker.

Admission happens when the result is first driven, not here. A cancelled call is ignored: neither a success nor a failure.
The configured timeout covers what can be interrupted: from the operation's first suspension to its end.

Args:
    operation: A callable, async or not, called with the arguments; or an awaitable. Of a rejected call a coroutine is
        closed, a Future or Task left alone.
    *args: For the callable.
    **kwargs: For the callable.

Returns:
    An awaitable for one use. It gives the operation's result.

Raises:
    TypeError: There is no operation, it is neither callable nor awaitable, or it returned a generator (when awaited).
    CircuitOpenError: The breaker rejected the call (when awaited).
    CallTimeoutError: The call took longer than ``config.timeout`` seconds (when awaited).
    RuntimeError: The call, or the coroutine, was awaited before (when awaited).
";

const CALL_SYNC: &CStr = c"call_sync($self, operation, /, *args, **kwargs)
--

Run one callable through the breaker and return its result.

A synchronous call cannot be interrupted, so the timeout does not apply to it.

Args:
    operation: A callable that returns a value, not an awaitable.
    *args: For the callable.
    **kwargs: For the callable.

Raises:
    TypeError: There is no operation, it is not callable, or it returned an awaitable or a generator.
    CircuitOpenError: The breaker rejected the call.
";

const ACQUIRE: &CStr = c"acquire($self, /)
--

Return a permit for one call, to be settled by ``success()``, ``failure()`` or ``release()``; dropped, it is released.

Raises:
    CircuitOpenError: The breaker rejected the call.
";

const TRY_ACQUIRE: &CStr = c"try_acquire($self, /)
--

Return a permit for one call, or None where the breaker rejects it: no exception on the fast path.
";

const TIMED: &CStr = c"_timed($self, awaitable, permit, /)
--

Await one step of what holds ``permit`` under the breaker's timeout, which settles the permit if it passes.
";
