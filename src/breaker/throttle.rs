//! Adaptive throttling, for a service that fails in part: the more calls fail, the more are rejected, by chance.
//!
//! A call is rejected with the probability `max(0, (requests - k * accepts) / (requests + 1))` (Beyer et al., Site Reliability
//! Engineering, 2016, chapter 21). Requests are counted when a call asks, rejected ones included. Accepts are counted then, too, and taken
//! back when the call fails: counted when it succeeds, as the book has it, a hundred calls that come at once would nearly all
//! be rejected for the others' being still on their way.
//!
//! So the window holds requests and *refusals* (rejections and failures), and accepts are the difference.

use crate::sync::{AtomicU64, Ordering::Relaxed};

use super::meter::buckets::{Buckets, WORDS};
use super::recovery::drawn;
use super::word::Generation;

/// How much is let through, and what it depends on.
#[derive(Debug)]
pub struct Throttle {
    k: f64,
    seed: u64,
    calls: AtomicU64,
    window: Buckets,
    words: Box<[AtomicU64]>,
}

impl Throttle {
    /// A throttle that looks back on ten buckets of `bucket_ns`.
    #[must_use]
    pub fn new(k: f64, bucket_ns: u64, seed: u64) -> Self {
        let words = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
        Self { k, seed, calls: AtomicU64::new(0), window: Buckets::new(bucket_ns), words }
    }

    /// Ask for a call; whether it may go. `is_current` says whether the breaker is still in its generation.
    pub(super) fn passes(&self, generation: Generation, now_ns: u64, is_current: impl Fn() -> bool) -> bool {
        let rejection = self.rejection(generation, now_ns);
        let call = self.calls.fetch_add(1, Relaxed);
        let passes = drawn(self.seed.wrapping_add(call)) >= rejection;
        self.window.count_call(&self.words, generation, now_ns, &is_current);
        if !passes {
            self.refuse(generation, now_ns, is_current);
        }
        passes
    }

    /// A call that had passed has failed.
    pub(super) fn refuse(&self, generation: Generation, now_ns: u64, is_current: impl Fn() -> bool) {
        self.window.count_hit(&self.words, generation, now_ns, is_current);
    }

    #[allow(clippy::cast_precision_loss)] // a window has fewer calls than a double has exact integers
    fn rejection(&self, generation: Generation, now_ns: u64) -> f64 {
        let (refused, requests) = self.window.seen(&self.words, generation, now_ns);
        let accepts = requests.saturating_sub(refused);
        ((requests as f64 - self.k * accepts as f64) / (requests as f64 + 1.0)).max(0.0)
    }
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::float_cmp)] // the same arithmetic gives the same number
mod tests {
    use super::*;

    const GENERATION: Generation = Generation::new(4);

    fn throttle() -> Throttle {
        Throttle::new(2.0, 100, 7)
    }

    #[test]
    fn the_rejection_follows_the_formula() {
        let throttle = throttle();
        for requests in 0..200_u32 {
            let refused = throttle.window.seen(&throttle.words, GENERATION, 0).0;
            let accepts = f64::from(requests) - f64::from(u32::try_from(refused).unwrap());
            let expected = ((f64::from(requests) - 2.0 * accepts) / f64::from(requests + 1)).max(0.0);
            assert_eq!(expected, throttle.rejection(GENERATION, 0));
            if throttle.passes(GENERATION, 0, || true) {
                throttle.refuse(GENERATION, 0, || true);
            }
        }
        assert!(throttle.rejection(GENERATION, 0) < 1.0, "never all of them");
    }

    #[test]
    fn calls_on_their_way_are_not_held_against_anybody() {
        let throttle = throttle();
        assert!((0..1_000).all(|_| throttle.passes(GENERATION, 0, || true)));
    }

    #[test]
    fn the_window_forgets_with_time_and_with_the_generation() {
        let throttle = throttle();
        for _ in 0..50 {
            throttle.passes(GENERATION, 0, || true);
            throttle.refuse(GENERATION, 0, || true);
        }
        assert!(throttle.rejection(GENERATION, 999) > 0.9);
        assert_eq!([0.0, 0.0], [throttle.rejection(GENERATION, 1_000), throttle.rejection(GENERATION.next(), 0)]);
    }
}
