//! A level in a word of its own: generation (20 bits), level (44 bits).

use super::{Call, Late, Score, Seen};
use crate::sync::{
    AtomicU64,
    Ordering::{AcqRel, Acquire},
};

const SHIFT: u32 = 44;
const LEVEL: u64 = (1 << SHIFT) - 1;

/// Record a call: what met the rule, if this did.
#[inline(never)]
pub(super) fn record(score: Score, word: &AtomicU64, call: Call, is_current: impl Fn() -> bool) -> Result<Option<Seen>, Late> {
    let mine = u64::from(call.generation.number()) << SHIFT;
    // Partner, here and of the failed exchange: the exchange.
    let mut old = word.load(Acquire);
    loop {
        let level = if old & !LEVEL == mine {
            old & LEVEL
        } else if is_current() {
            0
        } else {
            return Err(Late);
        };
        // No higher than the limit: a trip may be on its way, and levels must not grow into the generation meanwhile.
        let new = score.after(level, call.failed).min(u64::from(score.limit));
        if mine | new != old
            && let Err(found) = word.compare_exchange(old, mine | new, AcqRel, Acquire)
        {
            old = found;
            continue;
        }
        return Ok(score.is_met(new).then_some(Seen { hits: new, calls: 0 }));
    }
}
