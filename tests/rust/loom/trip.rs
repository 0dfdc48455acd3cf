//! CLOSED: failures that arrive together.

use switchgear::Outcome::{Failure, Success};
use switchgear::State::{Closed, Open};

use crate::setup::{SECOND, Shared, all_three, both, check, check_all, rules, told};

/// Failures that reach the threshold together trip once, and each is counted.
#[test]
fn two_failures_that_reach_the_threshold_trip_once() {
    check_all([false, true], || {
        let breaker = Shared::closed(rules(2, 1, 1), 0);
        let fail = |breaker: Shared| move || breaker.settle(breaker.admitted(0).0, Failure, 0);
        let (left, right) = both(fail(breaker.clone()), fail(breaker.clone()));
        assert_eq!(vec![(Closed, Open, 1)], told([left, right]));
        let after = breaker.snapshot(0);
        assert_eq!((Open, 1), (after.state, after.times_opened));
        assert_eq!((2, 0, 2), (after.counters.failed, after.counters.late, after.counters.total()));
        left.is_some()
    });
}

/// A failure that comes after the trip is counted as late, and trips nothing again.
#[test]
fn the_failure_beyond_the_threshold_is_late() {
    check([Some(0), Some(1), Some(2)], || {
        let breaker = Shared::closed(rules(2, 1, 1), 0);
        let fail = |breaker: Shared| {
            let permit = breaker.admitted(0).0;
            move || breaker.settle(permit, Failure, 0)
        };
        let (first, second, third) = all_three(fail(breaker.clone()), fail(breaker.clone()), fail(breaker.clone()));
        let changes = [first, second, third];
        assert_eq!(vec![(Closed, Open, 1)], told(changes));
        let after = breaker.snapshot(0);
        assert_eq!((Open, 1), (after.state, after.times_opened));
        assert_eq!((3, 1), (after.counters.failed, after.counters.late));
        changes.iter().position(Option::is_some)
    });
}

/// A success and the failure that would trip come in one order or the other, never in both.
#[test]
fn a_success_forgives_the_failures_before_it_or_comes_late() {
    check_all(["CLOSED", "OPEN"], || {
        let breaker = Shared::closed(rules(2, 1, 1), 1);
        let (ours, theirs) = (breaker.admitted(0).0, breaker.admitted(0).0);
        let other = breaker.clone();
        let (success, failure) = both(move || other.settle(theirs, Success, 0), || breaker.settle(ours, Failure, 0));
        assert_eq!(None, success);
        let after = breaker.snapshot(0);
        assert_eq!((1, 2), (after.counters.successful, after.counters.failed));
        match after.state {
            Open => assert_eq!((vec![(Closed, Open, 1)], 1), (told([failure]), after.counters.late)),
            state => assert_eq!((Closed, 1, None, 0), (state, after.count, failure, after.counters.late)),
        }
        after.state.name()
    });
}

/// A success that finds nothing to forgive is counted, whatever trips beside it.
#[test]
fn a_success_beside_a_trip_is_counted_and_undoes_nothing() {
    check_all([0, 1], || {
        let breaker = Shared::closed(rules(1, 1, 1), 0);
        let (ours, theirs) = (breaker.admitted(0).0, breaker.admitted(0).0);
        let other = breaker.clone();
        let (success, failure) = both(move || other.settle(theirs, Success, 0), || breaker.settle(ours, Failure, 0));
        assert_eq!((None, vec![(Closed, Open, 1)]), (success, told([failure])));
        let after = breaker.snapshot(0);
        assert_eq!((Open, 1, 1), (after.state, after.counters.successful, after.counters.failed));
        after.counters.late
    });
}

/// A call that arrives beside a trip is admitted before it or rejected after it, with the whole reset timeout ahead.
#[test]
fn an_arrival_beside_a_trip_comes_before_it_or_waits_for_its_deadline() {
    check_all([false, true], || {
        let breaker = Shared::closed(rules(1, 1, 1), 0);
        let permit = breaker.admitted(0).0;
        let other = breaker.clone();
        let ((arrival, change), trip) = both(move || other.acquire(SECOND / 4), || breaker.settle(permit, Failure, 0));
        assert_eq!((None, vec![(Closed, Open, 1)]), (change, told([trip])));
        match arrival {
            Ok(permit) => assert_eq!(0, permit.generation()),
            Err(rejected) => assert_eq!((Open, Some(SECOND - SECOND / 4)), (rejected.state, rejected.retry_after_ns)),
        }
        let rejected = u64::from(arrival.is_err());
        assert_eq!((1, rejected), (breaker.snapshot(0).counters.failed, breaker.snapshot(0).counters.rejected));
        arrival.is_ok()
    });
}
