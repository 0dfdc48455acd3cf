//! A ramp: after its probes HALF_OPEN lets a growing part of the calls pass, step by step, before it closes.
//!
//! It begins with the first call after the probes, not with the last of them: without calls there is nothing to try. Which calls pass
//! is drawn from a seed and the number of the call, so that the same history draws the same.

use crate::sync::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

use super::recovery::drawn;
use super::tick;
use super::word::Word;

/// The steps, and what is remembered of the present ramp.
#[derive(Debug)]
pub struct Ramp {
    steps: Box<[f64]>,
    step_ns: u64,
    seed: u64,
    calls: AtomicU64,
    /// When the present ramp began: generation (20 bits), tick (42 bits).
    began: AtomicU64,
}

/// What a ramp says to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lot {
    Passes,
    Waits,
    /// The last step is over.
    Over,
}

impl Ramp {
    /// A ramp that lets the parts `steps`, each above 0 and below 1, pass for `step_ns` each.
    #[must_use]
    pub fn new(steps: Box<[f64]>, step_ns: u64, seed: u64) -> Self {
        Self { steps, step_ns, seed, calls: AtomicU64::new(0), began: AtomicU64::new(0) }
    }

    /// Ask for a call in the ramp that `word` is; `is_current` says whether the breaker is still in its generation.
    pub(super) fn ask(&self, word: Word, now_ns: u64, is_current: impl Fn() -> bool) -> Lot {
        let step = self.step(self.begun(word, now_ns, is_current), now_ns);
        let Some(part) = self.steps.get(step) else { return Lot::Over };
        let call = self.calls.fetch_add(1, Relaxed);
        if drawn(self.seed.wrapping_add(call)) < *part { Lot::Passes } else { Lot::Waits }
    }

    /// The part of the calls that passes now.
    pub(super) fn part(&self, word: Word, now_ns: u64) -> f64 {
        let began = self.began.load(Acquire);
        let step = if is_of(began, word) { self.step(began, now_ns) } else { 0 };
        // Past the last step the next call closes; until then nothing has changed.
        self.steps[step.min(self.steps.len() - 1)]
    }

    /// Go on where another one is.
    pub(super) fn inherit(&self, old: &Self) {
        self.began.swap(old.began.load(Relaxed), Relaxed);
    }

    /// When the ramp began, which is now if nobody has come before.
    fn begun(&self, word: Word, now_ns: u64, is_current: impl Fn() -> bool) -> u64 {
        let mine = u64::from(word.generation.number()) << tick::DEADLINE_BITS | tick::deadline(now_ns, 0);
        // Partners: the exchange, of here and of other threads.
        let mut began = self.began.load(Acquire);
        while !is_of(began, word) {
            if !is_current() {
                // A call of the past begins nothing.
                return mine;
            }
            match self.began.compare_exchange(began, mine, AcqRel, Acquire) {
                Ok(_) => return mine,
                Err(found) => began = found,
            }
        }
        began
    }

    #[allow(clippy::cast_possible_truncation)] // on a small machine a ramp of more than 2^32 steps would be over early
    fn step(&self, began: u64, now_ns: u64) -> usize {
        let began_ns = (began & tick::NEVER).saturating_mul(tick::TICK_NS);
        (now_ns.saturating_sub(began_ns) / self.step_ns) as usize
    }
}

fn is_of(began: u64, word: Word) -> bool {
    began >> tick::DEADLINE_BITS == u64::from(word.generation.number())
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::float_cmp)] // the same arithmetic gives the same number
mod tests {
    use super::super::word::{Generation, State};
    use super::*;

    fn word(generation: u32) -> Word {
        Word { state: State::HalfOpen, generation: Generation::new(generation), payload: super::super::word::RAMP }
    }

    fn ramp() -> Ramp {
        Ramp::new([0.25, 0.5].into(), 1_000_000_000, 42)
    }

    #[test]
    fn a_ramp_begins_with_its_first_call_and_goes_up_with_time() {
        let ramp = ramp();
        let part = |now_ns| ramp.part(word(7), now_ns);
        assert_eq!(0.25, part(5_000_000_000));
        assert_ne!(Lot::Over, ramp.ask(word(7), 5_000_000_000, || true));
        assert_eq!([0.25, 0.5, 0.5], [5_999_999_999, 6_000_000_000, 9_000_000_000].map(part));
        assert_ne!(Lot::Over, ramp.ask(word(7), 6_999_999_999, || true));
        assert_eq!(Lot::Over, ramp.ask(word(7), 7_000_000_000, || true));
        assert_ne!(Lot::Over, ramp.ask(word(9), 7_000_000_000, || true), "the next one begins anew");
    }

    #[test]
    fn the_part_that_passes_is_the_steps() {
        let ramp = ramp();
        let passed = |now_ns| (0..10_000).filter(|_| ramp.ask(word(7), now_ns, || true) == Lot::Passes).count();
        // 4 standard deviations of 10,000 draws are 173 and 200; these draws are always the same.
        assert!(passed(0).abs_diff(2_500) < 173);
        assert!(passed(1_000_000_000).abs_diff(5_000) < 200);
    }

    #[test]
    fn a_call_of_the_past_begins_nothing() {
        let ramp = ramp();
        ramp.ask(word(9), 1_000_000_000, || true);
        ramp.ask(word(7), 9_000_000_000, || false);
        assert_eq!(0.5, ramp.part(word(9), 2_000_000_000));
    }
}
