//! What readers see while others write.

use switchgear::Outcome::{Failure, Success, Timeout};
use switchgear::State::{Closed, Open};
use switchgear::breaker::transition::Event::{Disable, ForceClose};

use crate::setup::{SECOND, Shared, all_three, both, check_all, rules};

/// Threads that share a shard lose no count to each other.
#[test]
fn two_successes_are_two() {
    check_all([2], || {
        let breaker = Shared::closed(rules(9, 1, 1), 0);
        let succeed = |breaker: Shared| move || breaker.settle(breaker.admitted(0).0, Success, 0);
        both(succeed(breaker.clone()), succeed(breaker.clone()));
        breaker.snapshot(0).counters.successful
    });
}

/// A reset loses counts from before it and none from after it.
#[test]
fn counting_goes_on_across_a_reset() {
    check_all([0, 1, 2], || {
        let breaker = Shared::closed(rules(9, 1, 1), 0);
        let succeed = |breaker: Shared| {
            let permit = breaker.admitted(0).0;
            move || breaker.settle(permit, Success, 0)
        };
        all_three(succeed(breaker.clone()), succeed(breaker.clone()), {
            let breaker = breaker.clone();
            move || breaker.block().reset_metrics(0)
        });
        let kept = breaker.snapshot(0).counters.successful;
        assert!(kept <= 2);
        succeed(breaker.clone())();
        assert_eq!(kept + 1, breaker.snapshot(0).counters.successful);
        kept
    });
}

/// However a reset falls into the counting of one call: a call that timed out has failed, a late one has settled.
#[test]
fn a_reset_never_leaves_a_part_without_its_whole() {
    check_all([0, 1], || {
        let breaker = Shared::closed(rules(1, 1, 1), 0);
        let late = breaker.admitted(0).0;
        breaker.settle(breaker.admitted(0).0, Failure, 0);
        let other = breaker.clone();
        both(move || other.settle(late, Timeout, 0), || breaker.block().reset_metrics(0));
        let counters = breaker.snapshot(0).counters;
        assert!(counters.timed_out <= counters.failed, "{counters:?}");
        assert!(counters.late <= counters.total(), "{counters:?}");
        counters.failed
    });
}

/// Whoever sees OPEN sees this spell's instants: not an earlier spell's, and not those of a thread that lost the race to open.
#[test]
fn a_reader_never_sees_open_with_an_earlier_spell() {
    check_all(["CLOSED", "OPEN"], || {
        // OPEN from 0 to 1 s; the second spell begins at 5 s.
        let breaker = Shared::open(rules(1, 1, 1));
        breaker.command(ForceClose, SECOND);
        let permit = breaker.admitted(5 * SECOND).0;
        let other = breaker.clone();
        let (_, seen) = both(move || other.settle(permit, Failure, 5 * SECOND), || breaker.snapshot(6 * SECOND));
        match seen.state {
            Open => assert_eq!((SECOND, 2 * SECOND), (seen.elapsed_ns, seen.open_ns)),
            state => assert_eq!((Closed, 0, SECOND), (state, seen.elapsed_ns, seen.open_ns)),
        }
        seen.state.name()
    });
}

/// A caller that is rejected waits for the deadline of the spell that rejected it.
#[test]
fn a_rejection_never_carries_an_earlier_deadline() {
    check_all([false, true], || {
        let breaker = Shared::open(rules(1, 1, 1));
        breaker.command(ForceClose, SECOND / 2);
        let permit = breaker.admitted(SECOND / 2).0;
        let other = breaker.clone();
        let (_, (arrival, _)) = both(move || other.settle(permit, Failure, SECOND / 2), || breaker.acquire(SECOND));
        if let Err(rejected) = arrival {
            assert_eq!((Open, Some(SECOND / 2)), (rejected.state, rejected.retry_after_ns));
        }
        arrival.is_ok()
    });
}

/// Two threads that trip at different instants: the one that lost does not set back when the spell began.
#[test]
fn the_loser_of_a_trip_sets_no_instant_back() {
    check_all([(SECOND, SECOND), (SECOND, 2 * SECOND), (2 * SECOND, SECOND)], || {
        let breaker = Shared::closed(rules(1, 1, 1), 0);
        let (early, late) = (breaker.admitted(0).0, breaker.admitted(0).0);
        let other = breaker.clone();
        let changes = both(move || other.settle(early, Failure, SECOND), || breaker.settle(late, Failure, 2 * SECOND));
        let tripped = changes.0.or(changes.1).unwrap();
        let after = breaker.snapshot(3 * SECOND);
        assert_eq!((1, 2, 1), (after.times_opened, after.counters.failed, after.counters.late));
        (tripped.now_ns, after.elapsed_ns)
    });
}

/// A thread that meets a spell only where its exchange fails books that spell, and not since an earlier one.
#[test]
fn a_spell_is_booked_from_its_own_beginning() {
    check_all([SECOND, 2 * SECOND], || {
        // OPEN from 0 to 1 s, and from 5 s to 6 s if the trip comes before the operator.
        let breaker = Shared::open(rules(1, 1, 1));
        breaker.command(ForceClose, SECOND);
        let permit = breaker.admitted(5 * SECOND).0;
        let other = breaker.clone();
        both(move || other.settle(permit, Failure, 5 * SECOND), || breaker.command(Disable, 6 * SECOND));
        breaker.snapshot(7 * SECOND).open_ns
    });
}
