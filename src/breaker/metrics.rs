//! Counters that nobody waits for: a few shards, each with a cache line of its own, summed when somebody reads.
//!
//! The total is not a counter but the sum of what calls came to, so that it cannot disagree with its parts. A call counts once
//! it has settled or was rejected; reset and read are exact as soon as no call is in flight.
//!
//! Trade-off: two shards keep two threads apart at 128 bytes a breaker. More threads share them, and pay for it with a
//! contended add; a shard per core would cost a process with 10,000 breakers tens of megabytes.
//!
//! # Memory orders
//!
//! Counters are independent, with one exception: a part (`timed_out`, `late`) is counted before its whole, and a reset takes
//! the whole before its parts, so that no reset between the two leaves a part without its whole for ever. The `Release` add of
//! the whole in [`Metrics::count`] and the `Acquire` swap in [`Metrics::reset`] are partners.

use crate::sync::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    thread_index,
};

use super::permit::Outcome;

/// A cache line's bytes. Two words this far apart never share a line, however their block is aligned.
pub(super) const LINE: usize = 64;
const SHARDS: usize = 2;

/// What calls came to, summed over the shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls that succeeded.
    pub successful: u64,
    /// Calls that failed, the timed out ones included.
    pub failed: u64,
    /// Calls that were not admitted.
    pub rejected: u64,
    /// Calls that were abandoned.
    pub ignored: u64,
    /// Calls that outlasted the breaker's timeout.
    pub timed_out: u64,
    /// Calls that settled in a later generation than they were admitted in. They are counted above, too.
    pub late: u64,
    /// Calls that passed only because the breaker observes and does not reject. They are counted above, too, once they have settled.
    pub would_have_rejected: u64,
}

impl Counters {
    /// Every call: settled or rejected.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.successful + self.failed + self.rejected + self.ignored
    }
}

#[derive(Debug)]
#[repr(C)]
struct Shard {
    successful: AtomicU64,
    failed: AtomicU64,
    rejected: AtomicU64,
    ignored: AtomicU64,
    timed_out: AtomicU64,
    late: AtomicU64,
    would_have_rejected: AtomicU64,
    // Makes the stride a line: two shards' first words, the hot ones, never meet.
    _spare: u64,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Shard>() == LINE);

impl Shard {
    fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            successful: zero(),
            failed: zero(),
            rejected: zero(),
            ignored: zero(),
            timed_out: zero(),
            late: zero(),
            would_have_rejected: zero(),
            _spare: 0,
        }
    }

    /// Wholes first, then the parts of them.
    fn all(&self) -> [&AtomicU64; 7] {
        [&self.successful, &self.failed, &self.rejected, &self.ignored, &self.timed_out, &self.late, &self.would_have_rejected]
    }
}

/// The shards.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Metrics {
    shards: [Shard; SHARDS],
}

impl Metrics {
    pub(super) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Shard::new()) }
    }

    #[inline(always)]
    fn mine(&self) -> &Shard {
        &self.shards[thread_index() % SHARDS]
    }

    /// Count a success that came in time: all that the hot path counts.
    #[inline(always)]
    pub(super) fn count_success(&self) {
        self.mine().successful.fetch_add(1, Relaxed);
    }

    pub(super) fn count(&self, outcome: Outcome, late: bool) {
        let shard = self.mine();
        if outcome == Outcome::Timeout {
            shard.timed_out.fetch_add(1, Relaxed);
        }
        if late {
            shard.late.fetch_add(1, Relaxed);
        }
        let whole = match outcome {
            Outcome::Success => &shard.successful,
            Outcome::Failure | Outcome::Timeout => &shard.failed,
            Outcome::Ignored => &shard.ignored,
        };
        // Partner: the swap in `reset`. Where that finds this add, it finds the parts above, too.
        whole.fetch_add(1, Release);
    }

    #[inline]
    pub(super) fn count_rejection(&self) {
        self.mine().rejected.fetch_add(1, Relaxed);
    }

    pub(super) fn count_observed(&self) {
        self.mine().would_have_rejected.fetch_add(1, Relaxed);
    }

    pub(super) fn sum(&self) -> Counters {
        let mut sums = [0_u64; 7];
        for shard in &self.shards {
            for (sum, counter) in sums.iter_mut().zip(shard.all()) {
                *sum = sum.wrapping_add(counter.load(Relaxed));
            }
        }
        let [successful, failed, rejected, ignored, timed_out, late, would_have_rejected] = sums;
        Counters { successful, failed, rejected, ignored, timed_out, late, would_have_rejected }
    }

    /// Begin at zero. A swap loses no increment: writers only ever add.
    pub(super) fn reset(&self) {
        for counter in self.shards.iter().flat_map(Shard::all) {
            // Partner: the add of a whole in `count`.
            counter.swap(0, Acquire);
        }
    }
}
