//! How long OPEN lasts, and how long HALF_OPEN may: what a breaker remembers of its earlier attempts to recover.
//!
//! The open time grows with each attempt that failed. What is remembered is written by the thread that changed the state, after it
//! has; the next change that reads it comes an open time later. Whoever is slower than that lets one step of growth be missed.

use crate::sync::{AtomicU64, Ordering::Relaxed};

use super::permit::Change;
use super::tick;
use super::word::{Generation, State, Word};

/// More attempts let nothing grow further.
const ATTEMPTS: u64 = 10_000;

/// How the open time grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// What each failed attempt multiplies it by, 1 or more.
    pub multiplier: f64,
    /// The longest open time.
    pub max_ns: u64,
    /// The part of it that chance adds or takes, 0 to 1.
    pub jitter: f64,
    /// What chance is drawn from: the same seed and generation draw the same.
    pub seed: u64,
}

/// The rules of recovery, and what they remember.
#[derive(Debug)]
pub struct Recovery {
    backoff: Option<Backoff>,
    /// How long HALF_OPEN may wait for its verdicts; `u64::MAX`: for ever.
    max_wait_ns: u64,
    /// Attempts that failed since the breaker last stayed closed.
    failed: AtomicU64,
    closed_at_ns: AtomicU64,
    /// When HALF_OPEN began: generation (20 bits), tick (42 bits).
    half_open: AtomicU64,
}

impl Default for Recovery {
    fn default() -> Self {
        Self::new(None, None)
    }
}

impl Recovery {
    /// Recovery by these rules.
    #[must_use]
    pub fn new(backoff: Option<Backoff>, max_wait_ns: Option<u64>) -> Self {
        let zero = || AtomicU64::new(0);
        Self { backoff, max_wait_ns: max_wait_ns.unwrap_or(u64::MAX), failed: zero(), closed_at_ns: zero(), half_open: zero() }
    }

    /// How many attempts will have failed when `word` opens now. Who stays closed for a reset timeout begins anew.
    fn attempts(&self, word: Word, reset_timeout_ns: u64, now_ns: u64) -> u64 {
        let failed = self.failed.load(Relaxed);
        match word.state {
            State::HalfOpen => failed + 1,
            _ if now_ns.saturating_sub(self.closed_at_ns.load(Relaxed)) >= reset_timeout_ns => 0,
            _ => failed,
        }
    }

    /// How long `word` is to be OPEN if it opens now.
    pub(super) fn open_ns(&self, word: Word, reset_timeout_ns: u64, now_ns: u64) -> u64 {
        let Some(backoff) = self.backoff else { return reset_timeout_ns };
        backoff.open_ns(self.attempts(word, reset_timeout_ns, now_ns), word.generation.next(), reset_timeout_ns)
    }

    /// The part that chance added to the open time that began with `generation`, or took.
    pub(super) fn jitter(&self, generation: Generation) -> Option<f64> {
        self.backoff.map(|backoff| backoff.drawn_jitter(generation))
    }

    /// Remember what another breaker's recovery does.
    pub(super) fn inherit(&self, old: &Self) {
        for (mine, theirs) in [(&self.failed, &old.failed), (&self.closed_at_ns, &old.closed_at_ns), (&self.half_open, &old.half_open)] {
            mine.swap(theirs.load(Relaxed), Relaxed);
        }
    }

    /// Wait for verdicts from now on, if `word` is HALF_OPEN without anybody having noted since when.
    pub(super) fn wait_from(&self, word: Word, now_ns: u64) {
        let noted = self.half_open.load(Relaxed) >> tick::DEADLINE_BITS == u64::from(word.generation.number());
        if word.state == State::HalfOpen && !word.is_ramp() && !noted {
            let began = tick::deadline(now_ns, 0);
            self.half_open.swap(u64::from(word.generation.number()) << tick::DEADLINE_BITS | began, Relaxed);
        }
    }

    /// Whether HALF_OPEN has waited for its verdicts long enough.
    pub(super) fn is_over(&self, word: Word, now_ns: u64) -> bool {
        let began = self.half_open.load(Relaxed);
        word.state == State::HalfOpen
            && self.max_wait_ns != u64::MAX
            && began >> tick::DEADLINE_BITS == u64::from(word.generation.number())
            && now_ns >= (began & tick::NEVER).saturating_mul(tick::TICK_NS).saturating_add(self.max_wait_ns)
    }

    /// Forget every attempt.
    pub(super) fn forget(&self) {
        self.failed.swap(0, Relaxed);
    }

    /// Remember a change of state.
    pub(super) fn remember(&self, change: Change, reset_timeout_ns: u64) {
        match change.to {
            State::Open => {
                let old = Word { state: change.from, generation: Generation::new(change.generation), payload: 0 };
                let attempts = self.attempts(old, reset_timeout_ns, change.now_ns);
                self.failed.swap(attempts, Relaxed);
            }
            State::HalfOpen => {
                let began = tick::deadline(change.now_ns, 0);
                self.half_open.swap(u64::from(change.generation) << tick::DEADLINE_BITS | began, Relaxed);
            }
            State::Closed | State::Disabled => {
                self.closed_at_ns.fetch_max(change.now_ns, Relaxed);
            }
        }
    }
}

impl Backoff {
    #[allow(clippy::cast_precision_loss, clippy::cast_sign_loss, clippy::cast_possible_truncation)] // at most ten years of nanoseconds
    fn open_ns(&self, attempts: u64, generation: Generation, reset_timeout_ns: u64) -> u64 {
        let (max, mut open) = (self.max_ns as f64, reset_timeout_ns as f64);
        for _ in 0..attempts.min(ATTEMPTS) {
            if open >= max {
                break;
            }
            open *= self.multiplier;
        }
        // So far below the longest that chance has room on both sides: where it were cut off, half of all breakers would probe at once.
        let open = open.min(max / (1.0 + self.jitter));
        let open = open * (1.0 + self.drawn_jitter(generation));
        (open.min(max) as u64).max(1)
    }

    /// The part that chance adds to the open time that begins with `generation`, or takes.
    fn drawn_jitter(&self, generation: Generation) -> f64 {
        self.jitter * (2.0 * drawn(self.seed.wrapping_add(u64::from(generation.number()))) - 1.0)
    }
}

/// A number from 0 to below 1, in 2^53 steps, that `number` stands for: the same number gives the same one.
#[allow(clippy::cast_precision_loss)] // 53 bits are what a double holds
pub(super) fn drawn(number: u64) -> f64 {
    (mix(number) >> 11) as f64 / (1_u64 << 53) as f64
}

/// `SplitMix64` (Steele, Lea and Flood 2014): one step of it makes 64 even bits of any number.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn the_open_time_grows_by_the_multiplier_up_to_the_longest() {
        let backoff = Backoff { multiplier: 2.0, max_ns: 5 * SECOND, jitter: 0.0, seed: 0 };
        let open = |attempts| backoff.open_ns(attempts, Generation::new(1), SECOND);
        assert_eq!([1, 2, 4, 5, 5].map(|seconds| seconds * SECOND), [0, 1, 2, 3, 1_000].map(open));
    }

    #[test]
    fn jitter_stays_within_its_part_and_differs_from_trip_to_trip() {
        let backoff = Backoff { multiplier: 1.0, max_ns: 100 * SECOND, jitter: 0.2, seed: 7 };
        let drawn: Vec<_> = (0..100).map(|generation| backoff.open_ns(0, Generation::new(generation), 10 * SECOND)).collect();
        assert!(drawn.iter().all(|open| (8 * SECOND..=12 * SECOND).contains(open)));
        assert!(drawn.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(drawn[3], backoff.open_ns(0, Generation::new(3), 10 * SECOND));
    }

    #[test]
    fn splitmix_gives_the_numbers_of_its_authors() {
        // The first outputs of the reference implementation, seeded with 0 and with its increment.
        assert_eq!(0xE220_A839_7B1D_CDAF, mix(0));
        assert_eq!(0x6E78_9E6A_A1B9_65F4, mix(0x9E37_79B9_7F4A_7C15));
    }
}
