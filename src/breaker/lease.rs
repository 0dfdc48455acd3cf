//! Probe slots as leases: a slot says which generation holds it and until when, so that it comes back by itself.
//!
//! A counter of probes would have to be given back by somebody; a holder that hangs, is cancelled or killed would keep the
//! breaker half open for ever. A lease needs nobody: past its deadline, or in another generation, its slot is free.
//!
//! Trade-off: a fixed number of slots, 16, since the block has a fixed size. Closing after more successes than that works; at
//! most 16 probes are out at a time.

use crate::sync::{AtomicU64, Ordering::Relaxed};

use super::permit::HeldLease;
use super::tick;
use super::word::{Generation, Packed};

/// The most probes that can be out at a time.
pub const MAX_PROBES: usize = 16;

const TAKEN: u64 = 1 << 63;
const GENERATION_SHIFT: u32 = tick::DEADLINE_BITS;
const DEADLINE_MASK: u64 = (1 << tick::DEADLINE_BITS) - 1;

/// What a slot holds: nothing, or one probe of one generation, until a deadline.
///
/// It is its own nonce: the next lease of the same slot in the same generation begins when this one is over, so it ends later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    taken: bool,
    generation: Generation,
    deadline: u64,
}

impl Lease {
    /// An empty slot.
    pub const FREE: Self = Self { taken: false, generation: Generation::new(0), deadline: 0 };

    /// A probe of `generation`, until the tick `deadline`.
    #[must_use]
    pub const fn new(generation: Generation, deadline: u64) -> Self {
        Self { taken: true, generation, deadline }
    }
}

impl Packed for Lease {
    fn pack(self) -> u64 {
        let taken = if self.taken { TAKEN } else { 0 };
        taken | u64::from(self.generation.number()) << GENERATION_SHIFT | self.deadline
    }

    fn unpack(bits: u64) -> Self {
        #[allow(clippy::cast_possible_truncation)] // Generation::new keeps the 20 bits that are meant
        let generation = Generation::new((bits >> GENERATION_SHIFT) as u32);
        Self { taken: bits & TAKEN != 0, generation, deadline: bits & DEADLINE_MASK }
    }
}

/// Why no slot was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSlot {
    /// Every slot is leased; the tick at which the first of them ends.
    Full(u64),
    /// A slot belongs to a later generation: the caller's view of the breaker is old.
    Outdated,
}

/// The slots.
#[derive(Debug)]
#[repr(transparent)]
pub(super) struct Leases([AtomicU64; MAX_PROBES]);

impl Leases {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(Lease::FREE.pack())))
    }

    /// Take the first free of `max_probes` slots for a probe of `generation`.
    pub(super) fn take(&self, max_probes: u32, generation: Generation, lease_ns: u64, now_ns: u64) -> Result<HeldLease, NoSlot> {
        let mine = Lease::new(generation, tick::deadline(now_ns, lease_ns));
        let mut earliest = tick::NEVER;
        for (slot, cell) in (0..max_probes).zip(&self.0) {
            let mut bits = cell.load(Relaxed);
            loop {
                let held = Lease::unpack(bits);
                if held.taken && held.generation.is_after(generation) {
                    return Err(NoSlot::Outdated);
                }
                if held.taken && held.generation == generation && !tick::is_due(held.deadline, now_ns) {
                    earliest = earliest.min(held.deadline);
                    break;
                }
                match cell.compare_exchange(bits, mine.pack(), Relaxed, Relaxed) {
                    Ok(_) => return Ok(HeldLease { slot, lease: mine }),
                    Err(now) => bits = now,
                }
            }
        }
        Err(NoSlot::Full(earliest))
    }

    /// Give a slot back, if it is still this lease's.
    pub(super) fn give_back(&self, held: HeldLease) {
        // A failed exchange is the normal end of a lease that was lost: the slot is somebody else's now.
        let _ = self.0[held.slot as usize].compare_exchange(held.lease.pack(), Lease::FREE.pack(), Relaxed, Relaxed);
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn generation(number: u32) -> Generation {
        Generation::new(number)
    }

    proptest! {
        #[test]
        fn any_lease_survives_packing(number in 0u32..1 << Generation::BITS, deadline in 0u64..=tick::NEVER) {
            let lease = Lease::new(generation(number), deadline);
            prop_assert_eq!(lease, Lease::unpack(lease.pack()));
            prop_assert_ne!(Lease::FREE.pack(), lease.pack());
        }
    }

    #[test]
    fn slots_are_taken_until_none_is_left_and_come_back() {
        let leases = Leases::new();
        let first = leases.take(2, generation(1), SECOND, 0).unwrap();
        leases.take(2, generation(1), SECOND, SECOND / 2).unwrap();
        assert_eq!(Err(NoSlot::Full(10_000)), leases.take(2, generation(1), SECOND, SECOND / 2));
        leases.give_back(first);
        assert!(leases.take(2, generation(1), SECOND, SECOND / 2).is_ok());
    }

    #[test]
    fn a_lease_that_is_over_frees_its_slot_and_its_holder_gives_nothing_back() {
        let leases = Leases::new();
        let hung = leases.take(1, generation(1), SECOND, 0).unwrap();
        assert!(leases.take(1, generation(1), SECOND, SECOND - 1).is_err());
        leases.take(1, generation(1), SECOND, SECOND).unwrap();
        leases.give_back(hung);
        assert!(leases.take(1, generation(1), SECOND, SECOND).is_err());
    }

    #[test]
    fn a_past_generation_holds_nothing_and_a_later_one_is_never_robbed() {
        let leases = Leases::new();
        leases.take(1, generation(1), SECOND, 0).unwrap();
        leases.take(1, generation(3), SECOND, 0).unwrap();
        assert_eq!(Err(NoSlot::Outdated), leases.take(1, generation(1), SECOND, 0));
    }
}
