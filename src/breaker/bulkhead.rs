//! A bulkhead: a limit to the calls in flight. Places are leased, as the slots of probes are, so that a call which is lost gives its
//! own back.
//!
//! Trade-offs: a call that outlasts its lease (the timeout, or the reset timeout where there is none) is not counted any more, though
//! it goes on. Taking a place looks at each that is taken, from the one on that was given back last: with a full bulkhead at all.
//!
//! # Memory orders
//!
//! A place says nothing but its own lease, and no other word is read because of it: `Relaxed` is enough.

use crate::sync::{AtomicU64, Ordering::Relaxed};

use super::lease::{HeldLease, Lease};
use super::tick;
use super::word::Packed;

/// The places.
#[derive(Debug)]
pub struct Bulkhead {
    places: Box<[AtomicU64]>,
    /// A place that was free a while ago.
    hint: AtomicU64,
}

impl Bulkhead {
    /// A bulkhead with so many places.
    #[must_use]
    pub fn new(places: u32) -> Self {
        Self { places: (0..places).map(|_| AtomicU64::new(Lease::NONE)).collect(), hint: AtomicU64::new(0) }
    }

    /// How many places there are.
    #[allow(clippy::cast_possible_truncation)] // it was made with that many
    pub(super) fn size(&self) -> u32 {
        self.places.len() as u32
    }

    /// Take a place for `lease`; `None`: there is none.
    #[allow(clippy::cast_possible_truncation)] // there are fewer than 2^24 places
    pub(super) fn take(&self, lease: u64, now_ns: u64) -> Option<HeldLease> {
        let first = self.hint.load(Relaxed) as usize % self.places.len();
        let (before, after) = self.places.split_at(first);
        for (place, cell) in (first..).zip(after).chain((0..).zip(before)) {
            let mut held = cell.load(Relaxed);
            // Again where it has changed: a lease that was over may have been given back, and the place is as free as before.
            while held == Lease::NONE || tick::is_due(Lease::unpack(held).deadline(), now_ns) {
                match cell.compare_exchange(held, lease, Relaxed, Relaxed) {
                    Ok(_) => return Some(HeldLease { lease, slot: place as u32 }),
                    Err(found) => held = found,
                }
            }
        }
        None
    }

    /// Give a place back, if it is still this lease's.
    pub(super) fn give_back(&self, held: HeldLease) {
        // Another configuration may have fewer places, and a lease that is over may have lost its own.
        if let Some(cell) = self.places.get(held.slot as usize)
            && cell.compare_exchange(held.lease, Lease::NONE, Relaxed, Relaxed).is_ok()
        {
            self.hint.swap(u64::from(held.slot), Relaxed);
        }
    }

    /// Begin with what is taken in another one.
    pub(super) fn inherit(&self, old: &Self) {
        for (mine, theirs) in self.places.iter().zip(&old.places) {
            mine.swap(theirs.load(Relaxed), Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::word::Generation;
    use super::*;

    fn lease(deadline: u64) -> u64 {
        Lease::new(Generation::new(3), deadline).pack()
    }

    #[test]
    fn places_are_taken_until_none_is_left_and_come_back() {
        let bulkhead = Bulkhead::new(2);
        let first = bulkhead.take(lease(10), 0).unwrap();
        bulkhead.take(lease(10), 0).unwrap();
        assert_eq!(None, bulkhead.take(lease(10), 0));
        bulkhead.give_back(first);
        assert_eq!(Some(first), bulkhead.take(lease(10), 0));
    }

    #[test]
    fn a_lease_that_is_over_frees_its_place_and_its_holder_gives_nothing_back() {
        let bulkhead = Bulkhead::new(1);
        let hung = bulkhead.take(lease(10), 0).unwrap();
        assert_eq!(None, bulkhead.take(lease(20), 10 * tick::TICK_NS - 1));
        bulkhead.take(lease(20), 10 * tick::TICK_NS).unwrap();
        bulkhead.give_back(hung);
        assert_eq!(None, bulkhead.take(lease(20), 10 * tick::TICK_NS));
    }

    #[test]
    fn what_is_taken_stays_taken_when_the_bulkhead_grows_or_shrinks() {
        let old = Bulkhead::new(2);
        let (first, second) = (old.take(lease(10), 0).unwrap(), old.take(lease(10), 0).unwrap());
        for places in [1, 3] {
            let new = Bulkhead::new(places);
            new.inherit(&old);
            let taken = (0..places).take_while(|_| new.take(lease(10), 0).is_some()).count();
            assert_eq!(places.saturating_sub(2) as usize, taken);
            new.give_back(first);
            new.give_back(second);
            assert!(new.take(lease(10), 0).is_some());
        }
    }

    #[test]
    fn many_threads_never_hold_more_than_there_is_and_leave_nothing_taken() {
        let (bulkhead, inside) = (Bulkhead::new(3), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let (bulkhead, inside) = (&bulkhead, &inside);
                scope.spawn(move || {
                    for turn in 0..20_000 {
                        if let Some(held) = bulkhead.take(lease(1_000_000 + 4 * turn + thread), 0) {
                            assert!(inside.fetch_add(1, Relaxed) < 3);
                            inside.fetch_sub(1, Relaxed);
                            bulkhead.give_back(held);
                        }
                    }
                });
            }
        });
        assert!((0..3).all(|_| bulkhead.take(lease(1), 0).is_some()));
    }
}
