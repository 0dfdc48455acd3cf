//! What the core asks of a clock. It has none itself: time arrives as an argument, and is read only where an answer depends on it.

/// Nanoseconds of one monotonic clock, at two prices.
pub trait Time: Copy {
    /// The time, exactly: deadlines are computed from it.
    fn now_ns(self) -> u64;

    /// The time, give or take a few milliseconds and never ahead of [`now_ns`](Self::now_ns): enough to tell how long a call took and
    /// which part of a window it falls into.
    #[inline(always)]
    fn coarse_ns(self) -> u64 {
        self.now_ns()
    }
}

impl<F: Fn() -> u64 + Copy> Time for F {
    #[inline(always)]
    fn now_ns(self) -> u64 {
        self()
    }
}
