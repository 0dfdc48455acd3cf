//! Ending objects that hold objects that hold objects, without a C stack as deep as their chain.
//!
//! A call of a call of a call, never awaited, or a function guarded a hundred thousand times, is freed from the outside in, and each end
//! lies inside the one before. Past a depth the rest is put aside, and the outermost end frees it: what the interpreter's own containers
//! do, whose means for it are private and change from version to version.

use std::cell::RefCell;

use super::Object;

/// How many ends may lie inside one another.
const DEPTH: u32 = 50;

type End = unsafe fn(Object);

struct Trash {
    depth: u32,
    aside: Vec<(Object, End)>,
}

thread_local! {
    static TRASH: RefCell<Trash> = const { RefCell::new(Trash { depth: 0, aside: Vec::new() }) };
}

/// End `object` by `end` now, or a little later if this is the end of too many others already.
///
/// # Safety
/// The last reference is gone, the collector does not track the object any more, and nobody touches it but `end`.
pub unsafe fn end(object: Object, end: End) {
    let is_deep = TRASH.with_borrow_mut(|trash| {
        if trash.depth < DEPTH {
            trash.depth += 1;
            return false;
        }
        trash.aside.push((object, end));
        true
    });
    if is_deep {
        return;
    }
    // SAFETY: the caller's promise, for this object and for what was put aside.
    unsafe { end(object) };
    // Not borrowed while an end runs: it comes here again.
    while let Some((object, end)) = TRASH.with_borrow_mut(|trash| if trash.depth == 1 { trash.aside.pop() } else { None }) {
        // SAFETY: as above.
        unsafe { end(object) };
    }
    TRASH.with_borrow_mut(|trash| trash.depth -= 1);
}
