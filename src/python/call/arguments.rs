//! The arguments of a call that has not run yet: kept in the call itself, up to six; more go to the heap.
//!
//! They lie as a vectorcall wants them, so calling the operation copies nothing: positional ones, one for each keyword, and a free
//! place before the first, which `PY_VECTORCALL_ARGUMENTS_OFFSET` promises the callee.

use std::mem::MaybeUninit;
use std::ptr::{addr_of_mut, null_mut};

use pyo3::ffi;

use super::Object;

/// How many arguments a call keeps in itself.
const INLINE: usize = 6;

/// Arguments as a vectorcall passes them, borrowed: `positional` objects, then one for each of `names`, a tuple or null.
#[derive(Clone, Copy)]
pub struct Given {
    /// Where the first one lies.
    pub first: *const Object,
    /// How many are positional.
    pub positional: usize,
    /// The keywords.
    pub names: Object,
}

impl Given {
    /// No arguments.
    pub const NOTHING: Self = Self { first: std::ptr::null(), positional: 0, names: null_mut() };
}

/// Arguments that are owned.
#[repr(C)]
pub struct Arguments {
    names: Object,
    spilled: *mut Object,
    positional: usize,
    kept: usize,
    inline: [MaybeUninit<Object>; INLINE + 1],
}

impl Arguments {
    /// Keep what is given. True: an argument among them can be part of a cycle.
    ///
    /// # Safety
    /// `this` can be written to; what is given is as [`Given`] says.
    #[inline(always)]
    pub unsafe fn write(this: *mut Self, given: Given) -> bool {
        // SAFETY: the caller's promise; `kept` places follow the free one, inside or on the heap.
        unsafe {
            let named = if given.names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(given.names).cast_unsigned() };
            let kept = given.positional + named;
            ffi::Py_XINCREF(given.names);
            addr_of_mut!((*this).names).write(given.names);
            addr_of_mut!((*this).positional).write(given.positional);
            addr_of_mut!((*this).kept).write(kept);
            addr_of_mut!((*this).spilled).write(if kept > INLINE { spill(kept) } else { null_mut() });
            let place = Self::first(this);
            let mut can_form_cycle = false;
            for index in 0..kept {
                let argument = *given.first.add(index);
                ffi::Py_INCREF(argument);
                place.add(index).write(argument);
                can_form_cycle |= ffi::PyType_IS_GC(ffi::Py_TYPE(argument)) != 0;
            }
            can_form_cycle
        }
    }

    /// The arguments, for reading.
    ///
    /// # Safety
    /// `this` was written.
    #[inline(always)]
    pub unsafe fn given(this: *mut Self) -> Given {
        // SAFETY: the caller's promise.
        unsafe { Given { first: Self::first(this), positional: (*this).positional, names: (*this).names } }
    }

    /// Call `callable` with them: an owned object, or null with an exception set.
    ///
    /// # Safety
    /// `this` was written, `callable` is a live object.
    #[inline(always)]
    pub unsafe fn call(this: *mut Self, callable: Object) -> Object {
        // SAFETY: the caller's promise; the place before the first is there.
        unsafe {
            let flags = (*this).positional | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
            ffi::PyObject_Vectorcall(callable, Self::first(this), flags, (*this).names)
        }
    }

    /// Everything owned, for the collector.
    ///
    /// # Safety
    /// `this` was written.
    pub unsafe fn owned<'a>(this: *mut Self) -> impl Iterator<Item = Object> + 'a {
        // SAFETY: the caller's promise.
        let (place, kept, names) = unsafe { (Self::first(this), (*this).kept, (*this).names) };
        // SAFETY: as above.
        (0..kept).map(move |index| unsafe { *place.add(index) }).chain(std::iter::once(names))
    }

    /// Let go of all of them. Finalizers may run Python code, so the counts are 0 before.
    ///
    /// # Safety
    /// `this` was written.
    #[inline(always)]
    pub unsafe fn forget(this: *mut Self) {
        // SAFETY: the caller's promise; what is kept is owned.
        unsafe {
            if (*this).kept == 0 && (*this).names.is_null() {
                return;
            }
            let place = Self::first(this);
            let kept = std::mem::replace(&mut (*this).kept, 0);
            (*this).positional = 0;
            let names = std::mem::replace(&mut (*this).names, null_mut());
            let spilled = std::mem::replace(&mut (*this).spilled, null_mut());
            for index in 0..kept {
                ffi::Py_DECREF(*place.add(index));
            }
            if !spilled.is_null() {
                drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(spilled.cast::<MaybeUninit<Object>>(), kept + 1)));
            }
            ffi::Py_XDECREF(names);
        }
    }

    #[inline(always)]
    unsafe fn first(this: *mut Self) -> *mut Object {
        // SAFETY: the caller has written `spilled`; where it is not null it has a free first place, too.
        unsafe {
            let start = if (*this).spilled.is_null() { addr_of_mut!((*this).inline).cast::<Object>() } else { (*this).spilled };
            start.add(1)
        }
    }
}

/// Room on the heap for `kept` arguments and the free place before them; `forget` gives it back.
#[cold]
fn spill(kept: usize) -> *mut Object {
    let places: Box<[MaybeUninit<Object>]> = Box::new_uninit_slice(kept + 1);
    Box::into_raw(places).cast()
}
