//! The operator's commands beside calls that settle.

use switchgear::Outcome::{Failure, Success};
use switchgear::State::{Closed, Disabled, HalfOpen, Open};
use switchgear::breaker::transition::Event::{Disable, ForceClose, ForceOpen, Reset};

use crate::setup::{SECOND, Shared, both, check_all, rules, told};

/// Forced open beside a trip: opened once, and for good, whichever came first.
#[test]
fn force_open_beside_a_trip_opens_once_and_for_good() {
    check_all([false, true], || {
        let breaker = Shared::closed(rules(1, 1, 1), 0);
        let permit = breaker.admitted(0).0;
        let other = breaker.clone();
        let changes = both(move || other.settle(permit, Failure, 0), || breaker.command(ForceOpen, 0));
        assert_eq!(vec![(Closed, Open, 1)], told([changes.0, changes.1]));
        assert_eq!((1, 1), (breaker.snapshot(0).times_opened, breaker.snapshot(0).counters.failed));
        let rejected = breaker.acquire(u64::MAX).0.unwrap_err();
        assert_eq!((Open, None), (rejected.state, rejected.retry_after_ns));
        changes.0.is_some()
    });
}

/// Forced open beside the probe's arrival: no call passes once the operator has the last word.
#[test]
fn force_open_beside_the_first_probe_stays_open() {
    check_all([false, true], || {
        let breaker = Shared::open(rules(1, 1, 1));
        let other = breaker.clone();
        let ((arrival, half_opened), forced) = both(move || other.acquire(SECOND), || breaker.command(ForceOpen, SECOND));
        let expected = if half_opened.is_some() { vec![(Open, HalfOpen, 2), (HalfOpen, Open, 3)] } else { vec![] };
        assert_eq!(expected, told([half_opened, forced]));
        assert!(arrival.is_err() || half_opened.is_some());
        assert!(breaker.acquire(u64::MAX).0.is_err());
        let after = breaker.snapshot(2 * SECOND);
        assert_eq!(if half_opened.is_some() { (2, 1) } else { (1, 0) }, (after.times_opened, after.times_half_opened));
        half_opened.is_some()
    });
}

/// Time in OPEN is booked once, whoever ends a spell and however soon the next begins.
#[test]
fn a_spell_that_ends_as_the_next_begins_is_booked_whole() {
    check_all([false, true], || {
        let breaker = Shared::open(rules(1, 1, 1));
        let other = breaker.clone();
        let (half_opened, _) = both(move || other.acquire(SECOND).1, || breaker.command(ForceOpen, SECOND));
        assert_eq!(3 * SECOND, breaker.snapshot(3 * SECOND).open_ns);
        half_opened.is_some()
    });
}

/// A reset beside the failure that trips: as new afterwards, and the failure is counted.
#[test]
fn reset_beside_a_trip_ends_closed_with_nothing_pending() {
    check_all([false, true], || {
        let breaker = Shared::closed(rules(2, 1, 1), 1);
        let permit = breaker.admitted(0).0;
        let other = breaker.clone();
        let (tripped, reset) = both(move || other.settle(permit, Failure, 0), || breaker.command(Reset, 0));
        let expected = if tripped.is_some() { vec![(Closed, Open, 1), (Open, Closed, 2)] } else { vec![] };
        assert_eq!(expected, told([tripped, reset]));
        let after = breaker.snapshot(0);
        assert_eq!((Closed, 0), (after.state, after.count));
        assert_eq!((2, u64::from(tripped.is_none())), (after.counters.failed, after.counters.late));
        tripped.is_some()
    });
}

/// Closed by hand beside a probe's verdict: closed afterwards, or reopened by the verdict and then closed.
#[test]
fn force_close_beside_a_failing_probe_ends_closed() {
    check_all([false, true], || {
        let (breaker, [probe]) = Shared::half_open(rules(1, 2, 1));
        let other = breaker.clone();
        let (reopened, closed) = both(move || other.settle(probe, Failure, SECOND), || breaker.command(ForceClose, SECOND));
        let expected = match reopened {
            Some(_) => vec![(HalfOpen, Open, 3), (Open, Closed, 4)],
            None => vec![(HalfOpen, Closed, 3)],
        };
        assert_eq!(expected, told([reopened, closed]));
        let after = breaker.snapshot(SECOND);
        assert_eq!((Closed, 0, u64::from(reopened.is_none())), (after.state, after.count, after.counters.late));
        reopened.is_some()
    });
}

/// Disabled beside settlements: what came before is counted, what came after is not.
#[test]
fn disable_beside_a_failure_and_a_success_records_nothing_afterwards() {
    check_all([false, true], || {
        let breaker = Shared::closed(rules(1, 1, 1), 0);
        let (fails, succeeds) = (breaker.admitted(0).0, breaker.admitted(0).0);
        let other = breaker.clone();
        let (tripped, disabled) = both(
            move || other.settle(fails, Failure, 0),
            || {
                let disabled = breaker.command(Disable, 0);
                breaker.settle(succeeds, Success, 0);
                disabled
            },
        );
        let after = breaker.snapshot(0);
        let expected = if tripped.is_some() { vec![(Closed, Open, 1), (Open, Disabled, 2)] } else { vec![(Closed, Disabled, 1)] };
        assert_eq!(expected, told([tripped, disabled]));
        assert_eq!((0, u64::from(tripped.is_some())), (after.counters.successful, after.counters.failed));
        assert_eq!((Disabled, 0), (after.state, after.counters.late));
        tripped.is_some()
    });
}
