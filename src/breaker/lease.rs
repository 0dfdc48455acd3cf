//! Probe slots as leases: a slot says which generation holds it and until when, so that it comes back by itself.
//!
//! A counter of probes would have to be given back by somebody; a holder that hangs, is cancelled or killed would keep the
//! breaker half open for ever. A lease needs nobody: past its deadline, or in another generation, its slot is free.
//!
//! Trade-off: a fixed number of slots, 16, since the block has a fixed size. Closing after more successes than that works; at
//! most 16 probes are out at a time.
//!
//! # Memory orders
//!
//! A slot is a message from whoever wrote it last: an empty one may say that a probe failed, a foreign one that the breaker has
//! moved on. So every write of a slot is a `Release`, every read that leads to a decision an `Acquire`, and the caller's
//! question whether its generation is the current one, asked after that read, is answered from a word at least as new as the
//! slot. With `Relaxed` a probe could take the slot that a failed one left and not see that the breaker is open; loom shows it.

use crate::sync::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use super::rules::{MAX_PROBES, Rules};
use super::tick;
use super::word::{Generation, Packed};

const GENERATION_SHIFT: u32 = tick::DEADLINE_BITS;
const DEADLINE_MASK: u64 = (1 << tick::DEADLINE_BITS) - 1;

/// What a slot holds: nothing, or one probe of one generation, until a deadline.
///
/// It is its own nonce: the next lease of the same slot in the same generation begins when this one was given back, and nobody
/// gives back twice, or when it is over, and then the next one ends later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    taken: bool,
    generation: Generation,
    deadline: u64,
}

impl Lease {
    /// The bit that a lease has and an empty slot has not.
    pub(super) const TAKEN: u64 = 1 << 63;

    /// An empty slot, as bits.
    pub(super) const NONE: u64 = 0;

    /// An empty slot.
    pub const FREE: Self = Self { taken: false, generation: Generation::new(0), deadline: 0 };

    /// A probe of `generation`, until the tick `deadline`.
    #[must_use]
    pub const fn new(generation: Generation, deadline: u64) -> Self {
        Self { taken: true, generation, deadline }
    }

    /// The tick at which it ends.
    pub(super) const fn deadline(&self) -> u64 {
        self.deadline
    }
}

impl Packed for Lease {
    fn pack(self) -> u64 {
        let taken = if self.taken { Self::TAKEN } else { 0 };
        taken | u64::from(self.generation.number()) << GENERATION_SHIFT | self.deadline
    }

    fn unpack(bits: u64) -> Self {
        #[allow(clippy::cast_possible_truncation)] // Generation::new keeps the 20 bits that are meant
        let generation = Generation::new((bits >> GENERATION_SHIFT) as u32);
        Self { taken: bits & Self::TAKEN != 0, generation, deadline: bits & DEADLINE_MASK }
    }
}

/// A probe's slot, and what the slot held when the probe took it: [`Lease::NONE`] for a call that is no probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeldLease {
    pub(super) lease: u64,
    pub(super) slot: u32,
}

/// Why no slot was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSlot {
    /// Every slot is leased; the tick at which the first of them ends.
    Full(u64),
    /// The breaker has left the generation that the caller read: it has to look again.
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

    /// Take the first free slot for a probe of `generation`; `is_current` says whether the breaker is still in it.
    ///
    /// Which of two generations is the later one is never computed: numbers that wrap cannot tell, and a lease that outlives half
    /// a circle would seem to be from the future for ever. Whether one's own is current can simply be read.
    pub(super) fn take(
        &self,
        rules: &Rules,
        generation: Generation,
        now_ns: u64,
        is_current: impl Fn() -> bool,
    ) -> Result<HeldLease, NoSlot> {
        let mine = Lease::new(generation, tick::deadline(now_ns, rules.lease_ns));
        let mut earliest = tick::NEVER;
        for (slot, cell) in (0..rules.max_probes).zip(&self.0) {
            // Partners, here and in the exchange: every writer of a slot, which is that exchange and `give_back`.
            let mut bits = cell.load(Acquire);
            loop {
                let held = Lease::unpack(bits);
                if held.taken && held.generation == generation && !tick::is_due(held.deadline, now_ns) {
                    earliest = earliest.min(held.deadline);
                    break;
                }
                // A lease of another generation is void if that one is past, and not ours to take if ours is.
                if held.taken && held.generation != generation && !is_current() {
                    return Err(NoSlot::Outdated);
                }
                match cell.compare_exchange(bits, mine.pack(), AcqRel, Acquire) {
                    Ok(_) => return self.keep(HeldLease { slot, lease: mine.pack() }, is_current),
                    Err(now) => bits = now,
                }
            }
        }
        Err(NoSlot::Full(earliest))
    }

    /// The state may have moved while the slot was being taken; a probe of the past must not go out.
    fn keep(&self, held: HeldLease, is_current: impl Fn() -> bool) -> Result<HeldLease, NoSlot> {
        if is_current() {
            return Ok(held);
        }
        self.give_back(held);
        Err(NoSlot::Outdated)
    }

    /// Give a slot back, if it is still this lease's.
    pub(super) fn give_back(&self, held: HeldLease) {
        // A failed exchange is the normal end of a lease that was lost: the slot is somebody else's now.
        let _ = self.0[held.slot as usize].compare_exchange(held.lease, Lease::NONE, Release, Relaxed);
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

    fn rules(max_probes: u32) -> Rules {
        Rules { max_probes, ..Rules::new(1, 1, SECOND) }
    }

    fn take(leases: &Leases, max_probes: u32, number: u32, now_ns: u64) -> Result<HeldLease, NoSlot> {
        leases.take(&rules(max_probes), generation(number), now_ns, || true)
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
        let first = take(&leases, 2, 1, 0).unwrap();
        take(&leases, 2, 1, SECOND / 2).unwrap();
        assert_eq!(Err(NoSlot::Full(10_000)), take(&leases, 2, 1, SECOND / 2));
        leases.give_back(first);
        assert!(take(&leases, 2, 1, SECOND / 2).is_ok());
    }

    #[test]
    fn a_lease_that_is_over_frees_its_slot_and_its_holder_gives_nothing_back() {
        let leases = Leases::new();
        let hung = take(&leases, 1, 1, 0).unwrap();
        assert!(take(&leases, 1, 1, SECOND - 1).is_err());
        take(&leases, 1, 1, SECOND).unwrap();
        leases.give_back(hung);
        assert!(take(&leases, 1, 1, SECOND).is_err());
    }

    #[test]
    fn a_past_generation_holds_nothing_however_long_it_is_past() {
        for ahead in [1, 2, 1 << (Generation::BITS - 1), (1 << Generation::BITS) - 1] {
            let leases = Leases::new();
            take(&leases, 1, 1, 0).unwrap();
            assert!(take(&leases, 1, 1 + ahead, 0).is_ok(), "{ahead} generations later");
        }
    }

    #[test]
    fn a_caller_that_is_behind_takes_no_slot_and_leaves_none_taken() {
        let leases = Leases::new();
        let behind = |number| leases.take(&rules(1), generation(number), 0, || false);
        assert_eq!(Err(NoSlot::Outdated), behind(1));
        let later = take(&leases, 1, 3, 0).unwrap();
        assert_eq!(Err(NoSlot::Outdated), behind(1));
        assert_eq!(Err(NoSlot::Full(10_000)), take(&leases, 1, 3, 0));
        leases.give_back(later);
        assert!(take(&leases, 1, 3, 0).is_ok());
    }
}
