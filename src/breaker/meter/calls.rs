//! Hits among the last N calls: a ring of one bit a call, and one control word that says what the ring amounts to.
//!
//! ```text
//!  63          44 43                                              0
//! ┌──────────────┬──────────────┬────────────┬─────────┬───────────┐
//! │  generation  │     lap      │  position  │ pending │   hits    │      control; the widths of the last four follow from N
//! └──────────────┴──────────────┴────────────┴─────────┴───────────┘
//! ┌──────────────┬──────────────┐
//! │   version    │  32 outcomes │ ...                                  ring
//! └──────────────┴──────────────┘
//! ```
//!
//! The number of hits is kept, not counted, so a call costs the same in a window of 10 and of 100,000. It stays exact because one
//! exchange of the control word is the whole record: it takes the call in, and the one that falls out of the window out. The ring
//! follows: the latest outcome is *pending* in the control word, and whoever records next writes it into the ring first. A thread
//! that stops between the two leaves nothing undone that the next one would not do.
//!
//! A full window without a hit stays as it is when another success comes: nothing is written.
//!
//! Trade-off: `lap` and `version` keep a thread that slept from taking an old word for the present one. They wrap: a thread would have
//! to sleep, between two of its instructions, through exactly a multiple of 2^32 changes of a ring word, or of 2^9 laps (at N = 100,000;
//! more for a smaller N), and wake up to the very same bits.

use super::{Generation, Late, Seen};
use crate::sync::{
    AtomicU64,
    Ordering::{AcqRel, Acquire},
};

const GENERATION_SHIFT: u32 = 44;
const OUTCOMES: u32 = 32;
const VERSION: u64 = 1 << OUTCOMES;

/// The shape of a window. Its words: the control word, then the ring.
#[derive(Debug)]
pub(super) struct Calls {
    size: u64,
    hit_bits: u32,
    position_bits: u32,
    /// The generation, and the hits.
    calm_mask: u64,
    lap_mask: u64,
}

/// The control word, unpacked. `lap` is 0 until the window is full.
#[derive(Clone, Copy)]
struct Control {
    lap: u64,
    position: u64,
    pending: bool,
    hits: u64,
}

impl Control {
    const EMPTY: Self = Self { lap: 0, position: 0, pending: false, hits: 0 };
}

impl Calls {
    pub(super) fn new(size: u32) -> Self {
        let bits = |largest: u64| 64 - largest.leading_zeros();
        let size = u64::from(size);
        let (hit_bits, position_bits) = (bits(size), bits(size - 1));
        let lap_mask = (1 << GENERATION_SHIFT) - (1 << (hit_bits + 1 + position_bits));
        Self { size, hit_bits, position_bits, calm_mask: !0 << GENERATION_SHIFT | ((1 << hit_bits) - 1), lap_mask }
    }

    /// How many words a window has.
    #[allow(clippy::cast_possible_truncation)] // at most 31,251
    pub(super) fn words(&self) -> usize {
        1 + self.size.div_ceil(u64::from(OUTCOMES)) as usize
    }

    /// Record a call: what the window holds then.
    #[inline(always)]
    pub(super) fn record(
        &self,
        words: &[AtomicU64],
        generation: Generation,
        hit: bool,
        is_current: impl Fn() -> bool,
    ) -> Result<Seen, Late> {
        // Partner: the exchange in `record_anew`.
        let bits = words[0].load(Acquire);
        let holds_no_hit = bits & self.calm_mask == u64::from(generation.number()) << GENERATION_SHIFT && bits & self.lap_mask != 0;
        if holds_no_hit && !hit {
            return Ok(Seen { hits: 0, calls: self.size });
        }
        self.record_anew(words, generation, hit, is_current)
    }

    #[inline(never)]
    fn record_anew(&self, words: &[AtomicU64], generation: Generation, hit: bool, is_current: impl Fn() -> bool) -> Result<Seen, Late> {
        let (control, ring) = (&words[0], &words[1..]);
        let tag = u64::from(generation.number()) << GENERATION_SHIFT;
        loop {
            // Partner: the exchange below, of whoever recorded before. It brings the ring, too, as far as this word needs it.
            let bits = control.load(Acquire);
            let old = if bits >> GENERATION_SHIFT == u64::from(generation.number()) {
                self.unpack(bits)
            } else if is_current() {
                Control::EMPTY
            } else {
                return Err(Late);
            };
            let full = old.lap > 0;
            if full && old.hits == 0 && !hit {
                return Ok(Seen { hits: 0, calls: self.size });
            }
            let has_latest = full || old.position > 0;
            if has_latest && !self.write_pending(control, ring, bits, old) {
                continue;
            }
            let leaving = u64::from(full && bit(ring, old.position) != 0);
            let new = self.next(old, hit, leaving);
            // Partners: the loads of `control`, and the failing side's is the load at the loop's head.
            if control.compare_exchange(bits, tag | self.pack(new), AcqRel, Acquire).is_ok() {
                return Ok(Seen { hits: new.hits, calls: if new.lap > 0 { self.size } else { new.position } });
            }
        }
    }

    /// Write the latest outcome into the ring. False: the control word has moved on.
    #[inline(always)]
    fn write_pending(&self, control: &AtomicU64, ring: &[AtomicU64], bits: u64, old: Control) -> bool {
        let latest = if old.position == 0 { self.size - 1 } else { old.position - 1 };
        let cell = &ring[index(latest)];
        // Partner: the exchange below.
        let found = cell.load(Acquire);
        let flip = u64::from(old.pending) << (latest % u64::from(OUTCOMES)) ^ (found & mask(latest));
        if flip == 0 {
            return true;
        }
        // Read after the cell: if this is still the word, the cell was not yet a later one, and the version in it tells if it becomes one.
        if control.load(Acquire) != bits {
            return false;
        }
        // Partner: the load above. A failure means that another thread wrote the same outcome, or that time has moved on.
        cell.compare_exchange(found, (found ^ flip).wrapping_add(VERSION), AcqRel, Acquire).is_ok()
    }

    #[inline(always)]
    fn next(&self, old: Control, hit: bool, leaving: u64) -> Control {
        let hits = old.hits + u64::from(hit) - leaving;
        if old.position + 1 < self.size {
            return Control { position: old.position + 1, pending: hit, hits, ..old };
        }
        let laps = 1 << (GENERATION_SHIFT - 1 - self.hit_bits - self.position_bits);
        // From the last lap back to 1: 0 says that the window is not full.
        Control { lap: if old.lap + 1 < laps { old.lap + 1 } else { 1 }, position: 0, pending: hit, hits }
    }

    #[inline(always)]
    fn pack(&self, control: Control) -> u64 {
        let low = control.hits | u64::from(control.pending) << self.hit_bits;
        let shift = self.hit_bits + 1;
        low | control.position << shift | control.lap << (shift + self.position_bits)
    }

    #[inline(always)]
    fn unpack(&self, bits: u64) -> Control {
        let low = |bits: u64, width: u32| bits & ((1 << width) - 1);
        let (hits, rest) = (low(bits, self.hit_bits), bits >> self.hit_bits);
        let (pending, rest) = (rest & 1 != 0, rest >> 1);
        let position = low(rest, self.position_bits);
        let lap = low(bits, GENERATION_SHIFT) >> (self.hit_bits + 1 + self.position_bits);
        Control { lap, position, pending, hits }
    }
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation)] // a window has at most a million calls
fn index(position: u64) -> usize {
    (position / u64::from(OUTCOMES)) as usize
}

#[inline(always)]
fn mask(position: u64) -> u64 {
    1 << (position % u64::from(OUTCOMES))
}

#[inline(always)]
fn bit(ring: &[AtomicU64], position: u64) -> u64 {
    // Partner: the exchange in `write_pending`.
    ring[index(position)].load(Acquire) & mask(position)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fresh(size: u32) -> (Calls, Vec<AtomicU64>) {
        let calls = Calls::new(size);
        let words = (0..calls.words()).map(|_| AtomicU64::new(0)).collect();
        (calls, words)
    }

    proptest! {
        /// A window holds the last N outcomes of its generation, whatever an earlier generation left in its words.
        #[test]
        fn a_window_holds_just_the_last_calls(size in 2u32..80, outcomes in prop::collection::vec((any::<bool>(), 0u8..60), 1..400)) {
            let (calls, words) = fresh(size);
            let (mut generation, mut history) = (Generation::new(0), Vec::new());
            for (hit, turn) in outcomes {
                if turn == 0 {
                    generation = generation.next();
                    history.clear();
                }
                history.push(hit);
                let last = &history[history.len().saturating_sub(size as usize)..];
                let expected = Seen { hits: last.iter().filter(|hit| **hit).count() as u64, calls: last.len() as u64 };
                prop_assert_eq!(Ok(expected), calls.record(&words, generation, hit, || true));
            }
        }
    }

    #[test]
    fn a_call_of_an_earlier_generation_leaves_no_trace() {
        let (calls, words) = fresh(3);
        calls.record(&words, Generation::new(1), true, || true).unwrap();
        assert_eq!(Err(Late), calls.record(&words, Generation::new(0), true, || false));
        assert_eq!(Ok(Seen { hits: 1, calls: 2 }), calls.record(&words, Generation::new(1), false, || true));
    }

    #[test]
    fn a_full_window_without_hits_is_not_written_to() {
        let (calls, words) = fresh(3);
        for _ in 0..3 {
            calls.record(&words, Generation::new(0), false, || true).unwrap();
        }
        let before = words[0].load(Acquire);
        assert_eq!(Ok(Seen { hits: 0, calls: 3 }), calls.record(&words, Generation::new(0), false, || true));
        assert_eq!(before, words[0].load(Acquire));
    }

    #[test]
    fn many_threads_lose_no_outcome() {
        let (calls, words) = fresh(1_000);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (calls, words) = (&calls, &words);
                scope.spawn(move || {
                    for turn in 0..50_000 {
                        calls.record(words, Generation::new(0), (turn + thread) % 3 == 0, || true).unwrap();
                    }
                });
            }
        });
        // The window has to forget all of it, outcome by outcome: a bit too many or too few would stay.
        for _ in 0..1_000 {
            calls.record(&words, Generation::new(0), false, || true).unwrap();
        }
        assert_eq!(Ok(Seen { hits: 0, calls: 1_000 }), calls.record(&words, Generation::new(0), false, || true));
    }
}
