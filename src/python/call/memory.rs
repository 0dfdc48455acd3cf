//! Where calls lie: memory of those that ended is kept for the next ones, since a call is made and gone a million times a second.

use pyo3::ffi;

use super::protocol::class_ptr;
use super::{Call, Object};

/// Memory of calls that ended, kept for the next ones: a call is made and gone a million times a second.
#[cfg(not(Py_GIL_DISABLED))]
mod freelist {
    use std::cell::UnsafeCell;

    use super::Call;

    const ROOM: usize = 64;

    pub struct Freelist(pub UnsafeCell<(usize, [*mut Call; ROOM])>);

    // SAFETY: touched only by code that holds the GIL, and this module exists only where there is one.
    unsafe impl Sync for Freelist {}

    pub static FREE: Freelist = Freelist(UnsafeCell::new((0, [std::ptr::null_mut(); ROOM])));

    impl Freelist {
        #[inline(always)]
        pub unsafe fn pop(&self) -> Option<*mut Call> {
            // SAFETY: the GIL is held; the places below the count hold memory of ended calls.
            unsafe {
                let (count, places) = &mut *self.0.get();
                let last = count.checked_sub(1)?;
                *count = last;
                Some(*places.get_unchecked(last))
            }
        }

        #[inline(always)]
        pub unsafe fn push(&self, call: *mut Call) -> bool {
            // SAFETY: the GIL is held, and the count is checked.
            unsafe {
                let (count, places) = &mut *self.0.get();
                if *count == ROOM {
                    return false;
                }
                *places.get_unchecked_mut(*count) = call;
                *count += 1;
                true
            }
        }
    }
}

unsafe extern "C" {
    // Revives memory that a freelist kept; declared here because pyo3-ffi leaves it out.
    fn _Py_NewReference(object: Object);
}

/// Memory for a call, with its header written; not tracked by the collector.
#[inline(always)]
pub unsafe fn allocate() -> *mut Call {
    // SAFETY: the class exists, or no breaker method could have been called. A kept piece of memory still has its class
    // written; the reference to the class that it had was dropped with it.
    unsafe {
        #[cfg(not(Py_GIL_DISABLED))]
        if let Some(call) = freelist::FREE.pop() {
            ffi::Py_INCREF(class_ptr().cast());
            _Py_NewReference(call.cast());
            return call;
        }
        ffi::PyObject_GC_New::<Call>(class_ptr())
    }
}

/// Give a call's memory back.
#[inline(always)]
pub unsafe fn release(call: *mut Call) {
    // SAFETY: nothing refers to the call any more, and it is not tracked.
    unsafe {
        #[cfg(not(Py_GIL_DISABLED))]
        if freelist::FREE.push(call) {
            return;
        }
        ffi::PyObject_GC_Del(call.cast());
    }
}
