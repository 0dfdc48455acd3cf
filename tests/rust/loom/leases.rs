//! Leases: a slot comes back when its probe settles or its time is over, and only once.

use switchgear::Outcome::{Failure, Ignored, Success};
use switchgear::State::{HalfOpen, Open};

use crate::setup::{FIRST_HALF_OPEN, SECOND, Shared, all_three, both, check, check_all, rules, told};

/// When the lease of a hung probe ends.
const LEASE_ENDS: u64 = 2 * SECOND;

/// A probe that settles as its lease ends gives nothing back that has become another's.
#[test]
fn a_hung_probe_that_settles_does_not_free_its_successor() {
    for outcome in [Success, Ignored] {
        check_all([()], move || {
            let (breaker, [hung]) = Shared::half_open(rules(1, 3, 1));
            let other = breaker.clone();
            let (successor, _) = both(move || other.acquire(LEASE_ENDS).0, || breaker.settle(hung, outcome, LEASE_ENDS));
            assert_eq!(Ok(FIRST_HALF_OPEN), successor.map(|permit| permit.generation()));
            let next = breaker.acquire(LEASE_ENDS).0.unwrap_err();
            assert_eq!((HalfOpen, Some(SECOND)), (next.state, next.retry_after_ns));
            assert_eq!(0, breaker.snapshot(LEASE_ENDS).counters.late);
        });
    }
}

/// One lease that ends makes room for one: two callers and its late holder together free one slot, not two.
#[test]
fn a_lease_that_ends_is_taken_over_once() {
    check([false, true], || {
        let (breaker, [hung]) = Shared::half_open(rules(1, 3, 1));
        let (one, two) = (breaker.clone(), breaker.clone());
        let (first, second, _) =
            all_three(move || one.acquire(LEASE_ENDS).0, move || two.acquire(LEASE_ENDS).0, || breaker.settle(hung, Success, LEASE_ENDS));
        assert_eq!(1, [first, second].iter().filter(|arrival| arrival.is_ok()).count());
        assert_eq!((1, 1), (breaker.snapshot(0).count, breaker.snapshot(0).counters.rejected));
        first.is_ok()
    });
}

/// A hung probe and its successor settle together: both count, and the slot is free for one.
#[test]
fn a_slot_is_not_freed_twice() {
    check([false, true], || {
        let (breaker, [hung]) = Shared::half_open(rules(1, 9, 1));
        let successor = breaker.admitted(LEASE_ENDS).0;
        let (one, two) = (breaker.clone(), breaker.clone());
        let (_, _, third) = all_three(
            move || one.settle(hung, Success, LEASE_ENDS),
            move || two.settle(successor, Success, LEASE_ENDS),
            || breaker.acquire(LEASE_ENDS).0,
        );
        assert_eq!(2, breaker.snapshot(0).count);
        assert_eq!(third.is_err(), breaker.acquire(LEASE_ENDS).0.is_ok(), "one slot is free exactly if nobody has it");
        third.is_ok()
    });
}

/// A probe that lost its lease still speaks for its generation, once, beside the one that has the slot now.
#[test]
fn a_hung_probe_that_fails_reopens_once() {
    check_all([false, true], || {
        let (breaker, [hung]) = Shared::half_open(rules(1, 9, 1));
        let successor = breaker.admitted(LEASE_ENDS).0;
        let other = breaker.clone();
        let changes = both(move || other.settle(hung, Failure, LEASE_ENDS), || breaker.settle(successor, Failure, LEASE_ENDS));
        assert_eq!(vec![(HalfOpen, Open, 3)], told([changes.0, changes.1]));
        let after = breaker.snapshot(LEASE_ENDS);
        assert_eq!((2, 3, 1), (after.times_opened, after.counters.failed, after.counters.late));
        changes.0.is_some()
    });
}

/// The holder of a lease of a past generation gives nothing back that a probe of the present one has.
#[test]
fn a_holder_of_a_past_generation_frees_nothing() {
    check([false, true], || {
        // Two probes; the first failed, the second hangs in slot 1 while the breaker becomes half open again.
        let (breaker, [failed, hung]) = Shared::half_open(rules(1, 9, 2));
        breaker.settle(failed, Failure, SECOND);
        let (one, two) = (breaker.clone(), breaker.clone());
        let (_, first, second) =
            all_three(move || one.settle(hung, Success, LEASE_ENDS), move || two.acquire(LEASE_ENDS), || breaker.acquire(LEASE_ENDS));
        assert!(first.0.is_ok() && second.0.is_ok());
        assert!(breaker.acquire(LEASE_ENDS).0.is_err(), "both slots are taken");
        let after = breaker.snapshot(LEASE_ENDS);
        assert_eq!((HalfOpen, 0, 1), (after.state, after.count, after.counters.late));
        first.1.is_some()
    });
}
