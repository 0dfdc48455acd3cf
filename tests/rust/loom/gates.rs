//! What a call passes beside the state: places in a bulkhead are given to one call at a time and none is lost; a ramp begins and ends
//! once.

use std::sync::Arc;

use loom::sync::atomic::{AtomicU32, Ordering::SeqCst};
use switchgear::Breaker;
use switchgear::Outcome::{Failure, Ignored, Success};
use switchgear::State::{Closed, HalfOpen};
use switchgear::breaker::{Block, Bulkhead, Gates, More, Plan, Ramp};

use crate::setup::{SECOND, Shared, both, check, check_all, check_within, rules, told};

/// When the lease of a call that was admitted at 0 ends.
const LEASE_ENDS: u64 = 2 * SECOND;

fn gated(gates: Gates) -> Shared {
    Shared(Arc::new(Breaker::of(Plan::with(rules(1, 1, 1), More { gates: Some(Box::new(gates)), ..More::default() }))))
}

fn narrow(places: u32) -> Shared {
    gated(with_places(places))
}

fn with_places(places: u32) -> Gates {
    Gates { bulkhead: Some(Bulkhead::new(places)), ..Gates::default() }
}

/// How many calls may begin now.
fn free(breaker: &Shared, now_ns: u64) -> usize {
    std::iter::from_fn(|| breaker.acquire(now_ns).0.ok()).count()
}

/// Two calls, from their admission to their end, and one place: they are never both inside, and leave it free.
#[test]
fn one_place_holds_one_call() {
    check([(true, true), (true, false), (false, true)], || {
        let (breaker, inside) = (narrow(1), Arc::new(AtomicU32::new(0)));
        let call = |breaker: Shared, inside: Arc<AtomicU32>| {
            move || {
                let Ok(permit) = breaker.acquire(0).0 else { return false };
                assert_eq!(0, inside.fetch_add(1, SeqCst), "two calls have one place");
                inside.fetch_sub(1, SeqCst);
                breaker.settle(permit, Success, 0);
                true
            }
        };
        let passed = both(call(breaker.clone(), inside.clone()), call(breaker.clone(), inside));
        assert_eq!(1, free(&breaker, 0), "a place is lost");
        let rejected = breaker.snapshot(0).counters.rejected;
        assert_eq!(u64::from(!passed.0) + u64::from(!passed.1) + 1, rejected);
        passed
    });
}

/// Two calls and two places: both pass, though both may have begun to look at the same one.
#[test]
fn two_places_hold_two_calls() {
    check_all([()], || {
        let breaker = narrow(2);
        let other = breaker.clone();
        let (left, right) = both(move || other.acquire(0).0, || breaker.acquire(0).0);
        assert_eq!(0, free(&breaker, 0));
        for permit in [left.unwrap(), right.unwrap()] {
            breaker.settle(permit, Ignored, 0);
        }
        assert_eq!(2, free(&breaker, 0), "a place is lost");
    });
}

/// A call that outlasts its lease settles as another one takes its place: it frees nothing that is another's.
#[test]
fn a_lost_call_that_settles_does_not_free_its_successors_place() {
    for outcome in [Success, Ignored] {
        check_all([()], move || {
            let breaker = narrow(1);
            let lost = breaker.admitted(0).0;
            let other = breaker.clone();
            let (successor, _) = both(move || other.acquire(LEASE_ENDS).0, || breaker.settle(lost, outcome, LEASE_ENDS));
            assert_eq!(0, free(&breaker, LEASE_ENDS), "the successor's place was freed");
            breaker.settle(successor.unwrap(), Success, LEASE_ENDS);
            assert_eq!(1, free(&breaker, LEASE_ENDS));
        });
    }
}

/// A lease that is over makes room for one of two.
#[test]
fn a_place_whose_lease_is_over_is_taken_over_once() {
    check_all([false, true], || {
        let breaker = narrow(1);
        breaker.admitted(0);
        let other = breaker.clone();
        let (left, right) = both(move || other.acquire(LEASE_ENDS).0, || breaker.acquire(LEASE_ENDS).0);
        assert_eq!(1, [left, right].iter().filter(|arrival| arrival.is_ok()).count());
        left.is_ok()
    });
}

/// A bulkhead for one call that had two places before, with a call in one of them, which leaves: of that one's successor and another call
/// never both pass, though they take different places, and in the end one place is free.
#[test]
fn a_smaller_bulkhead_lets_no_two_calls_in() {
    check([(true, true), (true, false), (false, true), (false, false)], || {
        let plan = |places| {
            let more = More { gates: Some(Box::new(with_places(places))), ..More::default() };
            Plan::with(rules(1, 1, 1), more)
        };
        let (block, larger) = (Block::default(), plan(2));
        let [first, second] = [(); 2].map(|()| larger.acquire(&block, || 0).0.unwrap());
        let smaller = plan(1).in_place_of(&larger, &block, 0);
        smaller.settle(&block, second, Success, || 0);
        let (breaker, inside) = (Arc::new((smaller, block)), Arc::new(AtomicU32::new(1)));
        let call = |breaker: &(Plan, Block), inside: &AtomicU32| {
            let Ok(permit) = breaker.0.acquire(&breaker.1, || 0).0 else { return false };
            assert_eq!(0, inside.fetch_add(1, SeqCst), "two calls are in a bulkhead for one");
            inside.fetch_sub(1, SeqCst);
            breaker.0.settle(&breaker.1, permit, Success, || 0);
            true
        };
        let (others, its) = (breaker.clone(), inside.clone());
        let passed = both(
            move || call(&others, &its),
            || {
                inside.fetch_sub(1, SeqCst);
                breaker.0.settle(&breaker.1, first, Success, || 0);
                call(&breaker, &inside)
            },
        );
        assert!(breaker.0.acquire(&breaker.1, || 0).0.is_ok(), "a place is lost");
        passed
    });
}

/// A breaker in a ramp of three steps of a second each, which nobody has asked yet.
fn ramping() -> Shared {
    let breaker = gated(Gates { ramp: Some(Ramp::new([0.25, 0.5, 0.75].into(), SECOND, 0)), ..Gates::default() });
    breaker.settle(breaker.admitted(0).0, Failure, 0);
    breaker.settle(breaker.admitted(SECOND).0, Success, SECOND);
    assert_eq!(HalfOpen, breaker.state());
    breaker
}

/// The step that the ramp is in, from 0 on.
fn step(breaker: &Shared, now_ns: u64) -> usize {
    let part = breaker.0.plan().ramp_part(breaker.block(), now_ns).expect("a ramp");
    [0.25, 0.5, 0.75].iter().position(|step: &f64| step.total_cmp(&part).is_eq()).expect("a step")
}

/// Two calls that find a ramp that has not begun begin it once: what either sees of it afterwards is what is so.
#[test]
fn a_ramp_begins_once() {
    check([0, 1], || {
        let breaker = ramping();
        let ask = |breaker: Shared, now_ns: u64| {
            move || {
                let _ = breaker.acquire(now_ns);
                step(&breaker, 6 * SECOND + SECOND / 2)
            }
        };
        let (left, right) = both(ask(breaker.clone(), 5 * SECOND), ask(breaker.clone(), 6 * SECOND));
        assert_eq!(left, right, "a ramp has begun twice");
        left
    });
}

/// Two calls that find it over close the breaker once.
#[test]
fn a_ramp_ends_once() {
    check([false, true], || {
        let breaker = ramping();
        let _ = breaker.acquire(5 * SECOND);
        let other = breaker.clone();
        let (left, right) = both(move || other.acquire(9 * SECOND), || breaker.acquire(9 * SECOND));
        assert_eq!(vec![(HalfOpen, Closed, 4)], told([left.1, right.1]));
        assert!(left.0.is_ok() && right.0.is_ok());
        left.1.is_some()
    });
}

/// A call that is still busy with the ramp before begins nothing in this one.
#[test]
fn a_call_of_the_past_does_not_begin_the_next_ramp() {
    // The first step means that the present ramp has not begun, or not any more. The last: the call has come to it, by its old clock.
    // One preemption is the race: the call sleeps before it writes.
    check_within(2, [1, 2], || {
        let breaker = ramping();
        let other = breaker.clone();
        let next = || {
            breaker.0.plan().force_open_for(breaker.block(), SECOND, 5 * SECOND);
            breaker.settle(breaker.admitted(6 * SECOND).0, Success, 6 * SECOND);
            let _ = breaker.acquire(7 * SECOND);
        };
        both(
            move || {
                let _ = other.acquire(5 * SECOND);
            },
            next,
        );
        step(&breaker, 8 * SECOND)
    });
}
