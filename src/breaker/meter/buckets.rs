//! Hits among the calls of the last while: ten buckets, each a word of calls and a word of hits.
//!
//! ```text
//!  63        50 49        32 31                    0
//! ┌────────────┬────────────┬───────────────────────┐
//! │ generation │    lap     │         count         │      generation and lap modulo 2^14 and 2^18
//! └────────────┴────────────┴───────────────────────┘
//! ```
//!
//! Time is cut into epochs of one bucket's length; an epoch's bucket is its number modulo ten, its lap its number over ten. A bucket of
//! another lap or generation reads as empty and is begun anew by whoever comes first, so nothing ever sweeps them.
//!
//! Counting is one add; who finds that the bucket was begun anew in that very moment takes it back. So counts are exact at rest, and off
//! by no more than the calls in flight in between.
//!
//! Trade-offs: the window is nine buckets and what has passed of the tenth. A bucket that nobody touched for exactly 2^18 windows, or
//! 2^14 state changes within one, would read as the present one, and after one window less as the next one. A count stops at
//! 2^32 - 2^16 calls a bucket.

use super::{Call, Generation, Late, Seen};
use crate::sync::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, SeqCst},
};

/// How many parts a window has.
const BUCKETS: usize = 10;
const CIRCLE: u64 = BUCKETS as u64;
/// The words of a window: calls of each bucket, then hits of each.
pub(in crate::breaker) const WORDS: usize = 2 * BUCKETS;

const COUNT_BITS: u32 = 32;
const LAP_BITS: u32 = 18;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
const FULL: u64 = COUNT - 0xFFFF;
const LAP: u64 = (1 << LAP_BITS) - 1;
const GENERATION: u64 = (1 << (64 - COUNT_BITS - LAP_BITS)) - 1;

/// The shape of a window.
#[derive(Debug)]
pub(in crate::breaker) struct Buckets {
    length_ns: u64,
    /// Of 2^64, how often the length goes into it: a division by multiplying.
    inverse: u64,
}

/// The buckets' moment: which one is the present one, and what its words, and those before it in the circle, are tagged with.
#[derive(Clone, Copy)]
struct Moment {
    place: usize,
    tag: u64,
    previous_tag: u64,
    next_tag: u64,
}

impl Moment {
    #[inline(always)]
    fn of(generation: Generation, epoch: u64) -> Self {
        let generation = (u64::from(generation.number()) & GENERATION) << LAP_BITS;
        let lap = epoch / CIRCLE;
        let tag = |lap: u64| generation | lap & LAP;
        #[allow(clippy::cast_possible_truncation)] // below ten
        let place = (epoch % CIRCLE) as usize;
        Self { place, tag: tag(lap), previous_tag: tag(lap.wrapping_sub(1)), next_tag: tag(lap + 1) }
    }
}

impl Buckets {
    pub(in crate::breaker) fn new(length_ns: u64) -> Self {
        Self { length_ns, inverse: u64::MAX / length_ns }
    }

    /// How many lengths have passed.
    #[inline(always)]
    fn epoch(&self, now_ns: u64) -> u64 {
        #[allow(clippy::cast_possible_truncation)] // the upper half of a product
        let epoch = ((u128::from(now_ns) * u128::from(self.inverse)) >> 64) as u64;
        // The inverse is too small by one at most, so this is, too: time is below 2^64.
        epoch + u64::from(now_ns - epoch * self.length_ns >= self.length_ns)
    }

    /// Record a call: what the window holds then.
    #[inline(never)]
    pub(super) fn record(&self, words: &[AtomicU64], call: Call, hit: bool, is_current: impl Fn() -> bool) -> Result<Seen, Late> {
        let moment = Moment::of(call.generation, self.epoch(call.now_ns));
        let (calls, hits) = words[..WORDS].split_at(BUCKETS);
        count(&calls[moment.place], moment, &is_current)?;
        if hit {
            count(&hits[moment.place], moment, &is_current)?;
        }
        // Most windows have held no hit for long, which can be told without tags. SeqCst: see `count`.
        let counts = hits.iter().fold(0, |counts, word| counts | word.load(SeqCst)) & COUNT;
        let hits = if counts == 0 { 0 } else { sum(hits, moment) };
        Ok(if hits == 0 { Seen::default() } else { Seen { hits, calls: sum(calls, moment) } })
    }

    /// Count a call, without asking what the window holds then.
    pub(in crate::breaker) fn count_call(&self, words: &[AtomicU64], generation: Generation, now_ns: u64, is_current: impl Fn() -> bool) {
        let moment = Moment::of(generation, self.epoch(now_ns));
        // Late: the window is another generation's, and there is nothing to count.
        let _ = count(&words[moment.place], moment, is_current);
    }

    /// As [`count_call`](Self::count_call), of a hit: one that is counted as a call elsewhere.
    pub(in crate::breaker) fn count_hit(&self, words: &[AtomicU64], generation: Generation, now_ns: u64, is_current: impl Fn() -> bool) {
        let moment = Moment::of(generation, self.epoch(now_ns));
        // As above.
        let _ = count(&words[BUCKETS + moment.place], moment, is_current);
    }

    /// What the window holds: hits, and calls.
    pub(in crate::breaker) fn seen(&self, words: &[AtomicU64], generation: Generation, now_ns: u64) -> (u64, u64) {
        let moment = Moment::of(generation, self.epoch(now_ns));
        let (calls, hits) = words[..WORDS].split_at(BUCKETS);
        (sum(hits, moment), sum(calls, moment))
    }
}

/// Count one in the present bucket.
#[inline(always)]
fn count(word: &AtomicU64, moment: Moment, is_current: impl Fn() -> bool) -> Result<(), Late> {
    // Partner, here and of the failed exchange: whoever began the bucket.
    let mut old = word.load(Acquire);
    loop {
        let tag = old >> COUNT_BITS;
        if tag == moment.tag {
            if old & COUNT >= FULL {
                return Ok(());
            }
            // SeqCst, like the loads in `sum`: of two calls that count at once, one sees both.
            let found = word.fetch_add(1, SeqCst);
            if found >> COUNT_BITS != moment.tag {
                take_back(word, found >> COUNT_BITS);
            }
            return Ok(());
        }
        // A count of 0: a bucket that nobody has begun yet.
        if tag == moment.next_tag && old & COUNT != 0 {
            // The circle has gone round since this call read its clock: it has left the window.
            return Ok(());
        }
        if tag >> LAP_BITS != moment.tag >> LAP_BITS && !is_current() {
            return Err(Late);
        }
        match word.compare_exchange(old, moment.tag << COUNT_BITS | 1, SeqCst, Acquire) {
            Ok(_) => return Ok(()),
            Err(found) => old = found,
        }
    }
}

/// Take one back that fell into a bucket begun anew, unless that one is gone, too.
#[cold]
fn take_back(word: &AtomicU64, tag: u64) {
    let mut old = word.load(Acquire);
    while old >> COUNT_BITS == tag {
        // Partner: the loads of the same word.
        match word.compare_exchange(old, old - 1, AcqRel, Acquire) {
            Ok(_) => return,
            Err(found) => old = found,
        }
    }
}

#[inline(always)]
fn sum(words: &[AtomicU64], moment: Moment) -> u64 {
    let mut sum = 0;
    for (place, word) in words.iter().enumerate() {
        let tag = if place <= moment.place { moment.tag } else { moment.previous_tag };
        // SeqCst: see `count`.
        let bits = word.load(SeqCst);
        sum += if bits >> COUNT_BITS == tag { bits & COUNT } else { 0 };
    }
    sum
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fresh() -> (Buckets, Vec<AtomicU64>) {
        (Buckets::new(100), (0..WORDS).map(|_| AtomicU64::new(0)).collect())
    }

    fn call(generation: Generation, now_ns: u64) -> Call {
        Call { generation, failed: false, duration_ns: 0, now_ns }
    }

    proptest! {
        #[test]
        fn an_epoch_is_a_quotient(now_ns: u64, length_ns in 1u64..=u64::MAX, shift in 0u32..64, ulp in 0u64..3) {
            let (length_ns, now_ns) = ((length_ns >> shift).max(1), now_ns >> (shift / 2));
            for now_ns in [now_ns, (now_ns / length_ns * length_ns).saturating_add(ulp).saturating_sub(1), u64::MAX - ulp] {
                prop_assert_eq!(now_ns / length_ns, Buckets::new(length_ns).epoch(now_ns));
            }
        }

        /// A window holds the calls of the present bucket and of the nine before it, of the present generation.
        #[test]
        fn a_window_holds_the_calls_of_ten_buckets(steps in prop::collection::vec((any::<bool>(), 0u64..400, 0u8..40), 1..300)) {
            let (buckets, words) = fresh();
            let (mut now, mut generation, mut history) = (0, Generation::new(0), Vec::new());
            for (hit, step, turn) in steps {
                now += step;
                if turn == 0 {
                    generation = generation.next();
                    history.clear();
                }
                history.push((now / 100, hit));
                let inside: Vec<_> = history.iter().filter(|(epoch, _)| *epoch + CIRCLE > now / 100).collect();
                let hits = inside.iter().filter(|(_, hit)| *hit).count() as u64;
                let calls = if hits == 0 { 0 } else { inside.len() as u64 };
                prop_assert_eq!(Ok(Seen { hits, calls }), buckets.record(&words, call(generation, now), hit, || true));
            }
        }
    }

    #[test]
    fn a_call_that_slept_through_a_window_is_not_counted_in_the_next() {
        let (buckets, words) = fresh();
        buckets.record(&words, call(Generation::new(0), 1_000), true, || true).unwrap();
        buckets.record(&words, call(Generation::new(0), 0), true, || true).unwrap();
        assert_eq!(Ok(Seen { hits: 1, calls: 2 }), buckets.record(&words, call(Generation::new(0), 1_000), false, || true));
    }

    #[test]
    fn a_fresh_bucket_is_of_no_lap() {
        let (buckets, words) = fresh();
        let now = LAP * 1_000;
        assert_eq!(Ok(Seen { hits: 1, calls: 1 }), buckets.record(&words, call(Generation::new(0), now), true, || true));
    }

    #[test]
    fn a_call_of_an_earlier_generation_leaves_no_trace() {
        let (buckets, words) = fresh();
        buckets.record(&words, call(Generation::new(1), 0), true, || true).unwrap();
        assert_eq!(Err(Late), buckets.record(&words, call(Generation::new(0), 0), true, || false));
        assert_eq!(Ok(Seen { hits: 1, calls: 2 }), buckets.record(&words, call(Generation::new(1), 0), false, || true));
    }

    #[test]
    fn many_threads_lose_no_outcome() {
        let (buckets, words) = fresh();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let (buckets, words) = (&buckets, &words);
                scope.spawn(move || {
                    for turn in 0..50_000 {
                        buckets.record(words, call(Generation::new(0), turn / 5_000 * 100), true, || true).unwrap();
                    }
                });
            }
        });
        let seen = buckets.record(&words, call(Generation::new(0), 999), true, || true);
        assert_eq!(Ok(Seen { hits: 200_001, calls: 200_001 }), seen);
    }
}
