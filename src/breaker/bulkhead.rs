//! A bulkhead: a limit to the calls in flight. Places are leased, as the slots of probes are, so that a call which is lost gives its
//! own back.
//!
//! Trade-offs: a call that outlasts its lease is not counted any more, though it goes on. Taking a place looks at each that is taken,
//! from the one on that was given back last: with a full bulkhead at all.
//!
//! A bulkhead that replaces a larger one has places above its limit until another replaces it: the calls in them count, and it is full
//! while there are as many in all. Of two calls that come for its last place at once none may get it.
//!
//! # Memory orders
//!
//! A place says nothing but its own lease, and no other word is read because of it: `Relaxed` is enough, but above the limit. There each
//! call takes a place first and counts all that are taken then, so that one of two sees the other's.

use crate::sync::{
    AtomicU64,
    Ordering::{AcqRel, Relaxed},
};

use super::lease::{HeldLease, Lease};
use super::tick;
use super::word::Packed;

/// The places.
#[derive(Debug)]
pub struct Bulkhead {
    limit: u32,
    /// How many numbers of plans before the present one had the same places, one after the other.
    inherited: u8,
    /// As many as the limit, or more.
    places: Box<[AtomicU64]>,
    /// A place that was free a while ago.
    hint: AtomicU64,
}

impl Bulkhead {
    /// A bulkhead for so many calls.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self { limit, inherited: 0, places: (0..limit).map(|_| AtomicU64::new(Lease::NONE)).collect(), hint: AtomicU64::new(0) }
    }

    /// How many calls may be in flight.
    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// Take a place for `lease`; `None`: there is none.
    pub(super) fn take(&self, lease: u64, now_ns: u64) -> Option<HeldLease> {
        let held = self.take_any(lease, now_ns)?;
        if self.places.len() > self.limit as usize && self.taken(now_ns) > self.limit as usize {
            self.give_back(held, 0);
            return None;
        }
        Some(held)
    }

    #[allow(clippy::cast_possible_truncation)] // there are fewer than 2^24 places
    fn take_any(&self, lease: u64, now_ns: u64) -> Option<HeldLease> {
        let first = self.hint.load(Relaxed) as usize % self.places.len();
        let (before, after) = self.places.split_at(first);
        for (place, cell) in (first..).zip(after).chain((0..).zip(before)) {
            let mut held = cell.load(Relaxed);
            // Again where it has changed: a lease that was over may have been given back, and the place is as free as before.
            while is_free(held, now_ns) {
                // Partner of both orders: the exchange in `taken`.
                match cell.compare_exchange(held, lease, AcqRel, Relaxed) {
                    Ok(_) => return Some(HeldLease { lease, slot: place as u32 }),
                    Err(found) => held = found,
                }
            }
        }
        None
    }

    /// How many places are taken. Of two calls that take one and then count, one counts both: of their exchanges at one place the later
    /// one reads the earlier one's, and with it what came before that.
    fn taken(&self, now_ns: u64) -> usize {
        // Partner: the exchange in `take_any`, and this one.
        self.places.iter().filter(|cell| !is_free(cell.fetch_add(0, AcqRel), now_ns)).count()
    }

    /// Give back a place that was given so many numbers of plans ago, if it is still this lease's: one that is over may have lost its place.
    pub(super) fn give_back(&self, held: HeldLease, numbers: u8) {
        if numbers <= self.inherited
            && let Some(cell) = self.places.get(held.slot as usize)
            && cell.compare_exchange(held.lease, Lease::NONE, Relaxed, Relaxed).is_ok()
        {
            self.hint.swap(u64::from(held.slot), Relaxed);
        }
    }

    /// Begin with what is taken in another one, whose plan's number is so many less: each call in the place that it has.
    pub(super) fn inherit(&mut self, old: &Self, steps: u8) {
        self.inherited = old.inherited.saturating_add(steps);
        let taken = old.places.iter().map(|place| place.load(Relaxed)).collect::<Vec<_>>();
        let used = taken.iter().rposition(|&lease| lease != Lease::NONE).map_or(0, |last| last + 1);
        let free = (used..self.limit as usize).map(|_| Lease::NONE);
        self.places = taken[..used].iter().copied().chain(free).map(AtomicU64::new).collect();
    }
}

fn is_free(lease: u64, now_ns: u64) -> bool {
    lease == Lease::NONE || tick::is_due(Lease::unpack(lease).deadline(), now_ns)
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
        bulkhead.give_back(first, 0);
        assert_eq!(Some(first), bulkhead.take(lease(10), 0));
    }

    #[test]
    fn a_lease_that_is_over_frees_its_place_and_its_holder_gives_nothing_back() {
        let bulkhead = Bulkhead::new(1);
        let hung = bulkhead.take(lease(10), 0).unwrap();
        assert_eq!(None, bulkhead.take(lease(20), 10 * tick::TICK_NS - 1));
        bulkhead.take(lease(20), 10 * tick::TICK_NS).unwrap();
        bulkhead.give_back(hung, 0);
        assert_eq!(None, bulkhead.take(lease(20), 10 * tick::TICK_NS));
    }

    #[test]
    fn what_is_taken_stays_taken_when_the_bulkhead_grows_or_shrinks() {
        for limit in 1..=5 {
            let old = Bulkhead::new(3);
            let held = [(); 3].map(|()| old.take(lease(10), 0).unwrap());
            let mut new = Bulkhead::new(limit);
            new.inherit(&old, 1);
            let mut inside = 3;
            for held in held {
                while new.take(lease(10), 0).is_some() {
                    inside += 1;
                }
                assert_eq!(limit.max(inside), inside, "as many as may be, and those that were there");
                new.give_back(held, 0);
                inside -= 1;
            }
            assert_eq!(inside < limit, new.take(lease(10), 0).is_some());
        }
    }

    #[test]
    fn places_above_the_limit_are_gone_with_the_next_bulkhead_and_with_their_leases() {
        let old = Bulkhead::new(3);
        let held = [(); 3].map(|()| old.take(lease(10), 0).unwrap());
        let mut smaller = Bulkhead::new(1);
        smaller.inherit(&old, 1);
        assert_eq!(None, smaller.take(lease(20), 9 * tick::TICK_NS));
        assert!(smaller.take(lease(20), 10 * tick::TICK_NS).is_some());
        assert_eq!(None, smaller.take(lease(20), 10 * tick::TICK_NS));
        smaller.give_back(held[2], 0);
        let mut smallest = Bulkhead::new(1);
        smallest.inherit(&smaller, 1);
        assert_eq!(1, smallest.places.len());
    }

    #[test]
    fn many_threads_never_hold_more_than_there_is_and_leave_nothing_taken() {
        let mut larger = Bulkhead::new(3);
        larger.inherit(
            &Bulkhead { limit: 9, inherited: 0, places: (0..9).map(|_| AtomicU64::new(lease(0))).collect(), hint: AtomicU64::new(0) },
            1,
        );
        for bulkhead in [Bulkhead::new(3), larger] {
            many_threads_in(&bulkhead);
            assert!((0..3).all(|_| bulkhead.take(lease(1), 0).is_some()));
        }
    }

    fn many_threads_in(bulkhead: &Bulkhead) {
        let inside = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let inside = &inside;
                scope.spawn(move || {
                    for turn in 0..20_000 {
                        if let Some(held) = bulkhead.take(lease(1_000_000 + 4 * turn + thread), 0) {
                            assert!(inside.fetch_add(1, Relaxed) < 3);
                            inside.fetch_sub(1, Relaxed);
                            bulkhead.give_back(held, 0);
                        }
                    }
                });
            }
        });
    }
}
