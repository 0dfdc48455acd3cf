//! The only door to atomics: the standard library's, or loom's when the model checker runs (`--cfg loom`).

#[cfg(not(loom))]
pub use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(loom)]
pub use self::explored::AtomicU64;
#[cfg(loom)]
pub use loom::sync::atomic::Ordering;

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

#[cfg(loom)]
#[allow(missing_docs)] // each method is the one of the same name
mod explored {
    use loom::sync::atomic::{
        AtomicU64 as Value,
        Ordering::{self, Relaxed},
    };

    /// Loom's atomic, and loads that loom takes notice of.
    ///
    /// To know which threads to run in the other order, loom remembers one last access of an atomic. A thread that loads and then
    /// exchanges hides every earlier load of another thread behind its own, and the orders in which that other thread comes second are
    /// never tried (tokio-rs/loom issues 166 and 392). So each load is announced on a second atomic, by an exchange, whose order
    /// loom does try. It is `Relaxed` and never read otherwise, so it orders nothing: what a load may return is still loom's choice.
    #[derive(Debug)]
    pub struct AtomicU64 {
        value: Value,
        loads: Value,
    }

    impl AtomicU64 {
        #[must_use]
        pub fn new(value: u64) -> Self {
            Self { value: Value::new(value), loads: Value::new(0) }
        }

        pub fn load(&self, order: Ordering) -> u64 {
            self.loads.swap(0, Relaxed);
            self.value.load(order)
        }

        pub fn swap(&self, value: u64, order: Ordering) -> u64 {
            self.value.swap(value, order)
        }

        pub fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
            self.value.fetch_add(value, order)
        }

        pub fn fetch_max(&self, value: u64, order: Ordering) -> u64 {
            self.value.fetch_max(value, order)
        }

        /// # Errors
        /// The value found, where it is not `current`.
        pub fn compare_exchange(&self, current: u64, new: u64, success: Ordering, failure: Ordering) -> Result<u64, u64> {
            self.value.compare_exchange(current, new, success, failure)
        }
    }
}
