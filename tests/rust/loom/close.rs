//! HALF_OPEN ends: verdicts that contradict each other, and verdicts from the past.

use switchgear::Outcome::{Failure, Success};
use switchgear::State::{Closed, HalfOpen, Open};

use crate::setup::{SECOND, Shared, all_three, both, check, check_all, rules, told};

/// Two probes that succeed close once.
#[test]
fn successes_that_reach_the_threshold_close_once() {
    check_all([false, true], || {
        let (breaker, [one, two]) = Shared::half_open(rules(1, 2, 2));
        let other = breaker.clone();
        let changes = both(move || other.settle(one, Success, SECOND), || breaker.settle(two, Success, SECOND));
        assert_eq!(vec![(HalfOpen, Closed, 3)], told([changes.0, changes.1]));
        let after = breaker.snapshot(SECOND);
        assert_eq!((Closed, 0, 2, 0), (after.state, after.count, after.counters.successful, after.counters.late));
        changes.0.is_some()
    });
}

/// The first of two contradicting verdicts decides, the second is late.
#[test]
fn a_success_that_closes_and_a_failure_that_reopens_exclude_each_other() {
    check_all(["CLOSED", "OPEN"], || {
        let (breaker, [one, two]) = Shared::half_open(rules(1, 1, 2));
        let other = breaker.clone();
        let changes = both(move || other.settle(one, Success, SECOND), || breaker.settle(two, Failure, SECOND));
        let after = breaker.snapshot(SECOND);
        assert_eq!(vec![(HalfOpen, after.state, 3)], told([changes.0, changes.1]));
        assert_eq!(if after.state == Open { 2 } else { 1 }, after.times_opened);
        assert_eq!((1, 2, 1), (after.counters.successful, after.counters.failed, after.counters.late));
        assert_eq!(0, after.count);
        after.state.name()
    });
}

/// A failed probe reopens however many successes come with it.
#[test]
fn a_failure_beside_a_success_that_does_not_suffice_reopens() {
    check_all([0, 1], || {
        let (breaker, [one, two]) = Shared::half_open(rules(1, 2, 2));
        let other = breaker.clone();
        let changes = both(move || other.settle(one, Success, SECOND), || breaker.settle(two, Failure, SECOND));
        assert_eq!(vec![(HalfOpen, Open, 3)], told([changes.0, changes.1]));
        breaker.snapshot(SECOND).counters.late
    });
}

/// A result from before the trip says nothing about the probes: it is counted, and moves nothing.
#[test]
fn a_late_result_beside_a_success_and_a_failure_of_probes_moves_nothing() {
    for outcome in [Success, Failure] {
        check(["CLOSED", "OPEN"], move || {
            let breaker = Shared::closed(rules(1, 1, 2), 0);
            let late = breaker.admitted(0).0;
            breaker.settle(breaker.admitted(0).0, Failure, 0);
            let (one, two) = (breaker.admitted(SECOND).0, breaker.admitted(SECOND).0);
            let (left, right) = (breaker.clone(), breaker.clone());
            let (nothing, success, failure) = all_three(
                move || left.settle(late, outcome, SECOND),
                move || right.settle(one, Success, SECOND),
                || breaker.settle(two, Failure, SECOND),
            );
            let after = breaker.snapshot(SECOND);
            assert_eq!(None, nothing);
            assert_eq!(vec![(HalfOpen, after.state, 3)], told([success, failure]));
            assert_eq!((0, 2), (after.count, after.counters.late));
            after.state.name()
        });
    }
}

/// A failure from before the trip does not count against the breaker that has just closed.
#[test]
fn a_late_failure_does_not_fall_on_the_breaker_that_closed() {
    check_all([()], || {
        let breaker = Shared::closed(rules(1, 1, 1), 0);
        let late = breaker.admitted(0).0;
        breaker.settle(breaker.admitted(0).0, Failure, 0);
        let probe = breaker.admitted(SECOND).0;
        let other = breaker.clone();
        let (nothing, closed) = both(move || other.settle(late, Failure, SECOND), || breaker.settle(probe, Success, SECOND));
        assert_eq!((None, vec![(HalfOpen, Closed, 3)]), (nothing, told([closed])));
        let after = breaker.snapshot(SECOND);
        assert_eq!((Closed, 0, 1, 1), (after.state, after.count, after.times_opened, after.counters.late));
    });
}
