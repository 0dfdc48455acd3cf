//! OPEN becomes HALF_OPEN: who gets through, and how many.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use switchgear::Outcome::{Failure, Ignored, Success};
use switchgear::Rules;
use switchgear::State::{HalfOpen, Open};

use crate::setup::{FIRST_HALF_OPEN, SECOND, Shared, all_three, both, check, check_all, rules, told};

/// Two callers at the reset: one change of state, one probe, and a rejection that says how long the probe may take.
#[test]
fn the_reset_lets_one_of_two_through_where_one_probe_is_allowed() {
    check_all([false, true], || {
        let breaker = Shared::open(rules(1, 2, 1));
        let other = breaker.clone();
        let (left, right) = both(move || other.acquire(SECOND), || breaker.acquire(SECOND));
        assert_eq!(vec![(Open, HalfOpen, FIRST_HALF_OPEN)], told([left.1, right.1]));
        let (admitted, rejected) = if left.0.is_ok() { (left.0, right.0) } else { (right.0, left.0) };
        assert_eq!(Ok(FIRST_HALF_OPEN), admitted.map(|permit| permit.generation()));
        let rejected = rejected.unwrap_err();
        assert_eq!((HalfOpen, Some(SECOND)), (rejected.state, rejected.retry_after_ns));
        let after = breaker.snapshot(SECOND);
        assert_eq!((1, 1, 1), (after.times_opened, after.times_half_opened, after.counters.rejected));
        assert_eq!(SECOND, after.open_ns);
        left.0.is_ok()
    });
}

/// Three callers at the reset, two probes allowed: exactly two pass.
#[test]
fn the_reset_lets_exactly_max_probes_through() {
    check([Some(0), Some(1), Some(2)], || {
        let breaker = Shared::open(rules(1, 2, 2));
        let arrive = |breaker: Shared| move || breaker.acquire(SECOND);
        let (first, second, third) = all_three(arrive(breaker.clone()), arrive(breaker.clone()), arrive(breaker.clone()));
        assert_eq!(vec![(Open, HalfOpen, FIRST_HALF_OPEN)], told([first.1, second.1, third.1]));
        let arrivals = [first.0, second.0, third.0];
        assert_eq!(2, arrivals.iter().filter(|arrival| arrival.is_ok()).count());
        assert_eq!(1, breaker.snapshot(SECOND).counters.rejected);
        arrivals.iter().position(Result::is_err)
    });
}

/// Callers that come and go: never are more probes out than allowed, and a slot that was given back serves the next.
#[test]
fn probes_that_come_and_go_never_overlap_where_one_is_allowed() {
    check([0, 1, 2], || {
        let (breaker, [first]) = Shared::half_open(rules(1, 9, 1));
        breaker.settle(first, Ignored, SECOND);
        let out = Arc::new(AtomicU32::new(0));
        let come_and_go = |breaker: Shared, out: Arc<AtomicU32>| {
            move || {
                for outcome in [Success, Ignored] {
                    if let Ok(permit) = breaker.acquire(SECOND).0 {
                        assert_eq!(0, out.fetch_add(1, SeqCst), "two probes out at a time");
                        out.fetch_sub(1, SeqCst);
                        breaker.settle(permit, outcome, SECOND);
                    }
                }
            }
        };
        both(come_and_go(breaker.clone(), out.clone()), come_and_go(breaker.clone(), out.clone()));
        let counters = breaker.snapshot(SECOND).counters;
        assert_eq!((2 + 4, 0), (counters.total(), counters.late));
        assert!(breaker.acquire(SECOND).0.is_ok(), "every slot came back");
        counters.rejected
    });
}

/// Whoever finds the slot of a failed probe empty has to find the breaker open, too: its generation sends no more probes out.
#[test]
fn the_slot_of_a_failed_probe_serves_nobody_of_its_generation() {
    check_all([Some("HALF_OPEN"), Some("OPEN")], || {
        let (breaker, [probe]) = Shared::half_open(rules(1, 2, 1));
        let other = breaker.clone();
        let ((arrival, change), reopened) = both(move || other.acquire(SECOND), || breaker.settle(probe, Failure, SECOND));
        assert_eq!((None, vec![(HalfOpen, Open, 3)]), (change, told([reopened])));
        assert!(arrival.is_err(), "a probe went out after another of its generation had failed");
        arrival.err().map(|rejected| rejected.state.name())
    });
}

/// The same for a probe that closed: the next call is an ordinary one, not a probe of the generation before.
#[test]
fn the_slot_of_a_probe_that_closed_serves_nobody_of_its_generation() {
    check_all([false, true], || {
        let (breaker, [probe]) = Shared::half_open(rules(1, 1, 1));
        let other = breaker.clone();
        let ((arrival, _), _) = both(move || other.acquire(SECOND), || breaker.settle(probe, Success, SECOND));
        if let Ok(permit) = arrival {
            assert_eq!(3, permit.generation(), "a probe went out after another of its generation had closed");
        }
        arrival.is_ok()
    });
}

/// The same where the slot was empty before, was taken, and is empty again: it looks the same, and is not.
#[test]
fn a_slot_that_was_used_in_between_serves_nobody_of_a_failed_generation() {
    check_all([false, true], || {
        let (breaker, [first]) = Shared::half_open(rules(1, 2, 1));
        breaker.settle(first, Ignored, SECOND);
        let other = breaker.clone();
        let (left, (right, reopened)) = both(
            move || other.acquire(SECOND).0,
            || {
                let arrival = breaker.acquire(SECOND).0;
                (arrival, arrival.map(|permit| breaker.settle(permit, Failure, SECOND)))
            },
        );
        assert!(left.is_err() || right.is_err(), "a probe went out after another of its generation had failed");
        assert_eq!(right.is_ok(), reopened.is_ok_and(|change| change.is_some()));
        left.is_ok()
    });
}

/// A caller that read the breaker a generation ago takes no slot from the probes of this one.
#[test]
fn a_caller_that_is_behind_robs_no_later_probe() {
    for max_probes in [1, 2] {
        check([false, true], move || {
            // Leases that outlast the test: the caller that is behind has an old clock, too.
            let (breaker, [probe]) = Shared::half_open(Rules { lease_ns: 9 * SECOND, ..rules(1, 2, max_probes) });
            let other = breaker.clone();
            let (behind, ahead) = both(
                move || other.acquire(SECOND).0,
                || {
                    breaker.settle(probe, Failure, SECOND);
                    (0..=max_probes).map(|_| breaker.acquire(2 * SECOND).0).collect::<Vec<_>>()
                },
            );
            let out = ahead.into_iter().chain([behind]).flatten().filter(|permit| permit.generation() == 4).count();
            assert_eq!(max_probes as usize, out, "the second HALF_OPEN has that many slots, and nobody has settled");
            behind.is_ok()
        });
    }
}
