//! The only door to atomics: the standard library's, or loom's when the model checker runs (`--cfg loom`).

#[cfg(not(loom))]
pub use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU64, Ordering};

/// A small number that is this thread's own for as long as threads are few: it spreads the counters' writers over the shards.
///
/// Handed out in turn, so that the first two threads are sure to meet in no shard; a hash of the thread would promise less.
#[cfg(not(loom))]
#[inline]
#[must_use]
pub fn thread_index() -> usize {
    use std::cell::Cell;
    use std::sync::atomic::AtomicUsize;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static INDEX: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    INDEX.with(|index| match index.get() {
        usize::MAX => {
            let mine = NEXT.fetch_add(1, Ordering::Relaxed);
            index.set(mine);
            mine
        }
        mine => mine,
    })
}

/// Under loom every thread writes the same shard: the harder case.
#[cfg(loom)]
#[must_use]
pub fn thread_index() -> usize {
    0
}
