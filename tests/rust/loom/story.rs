//! Whole lives: threads that trip, wait, probe and settle without waiting for each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use switchgear::Outcome::{self, Failure, Ignored, Success, Timeout};
use switchgear::State::{Closed, HalfOpen, Open};
use switchgear::{Change, State};

use crate::setup::{SECOND, Shared, both, check, rules, told};

/// A clock that no thread sees go back, whatever the order. Loom does not know of it, so it orders nothing.
#[derive(Clone, Default)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn at_least(&self, now_ns: u64) -> u64 {
        self.0.fetch_max(now_ns, SeqCst).max(now_ns)
    }
}

/// Call at each instant, or later if another thread's clock is ahead, with that outcome if admitted.
fn live<const N: usize>(breaker: &Shared, clock: &Clock, calls: [(u64, Outcome); N]) -> impl FnOnce() -> Vec<Option<Change>> + use<N> {
    let (breaker, clock) = (breaker.0.clone(), clock.clone());
    move || {
        let mut changes = Vec::new();
        for (now_ns, outcome) in calls {
            let (arrival, change) = breaker.acquire(|| clock.at_least(now_ns));
            changes.push(change);
            if let Ok(permit) = arrival {
                changes.push(breaker.settle(permit, outcome, || clock.at_least(now_ns)));
            }
        }
        changes
    }
}

/// The changes that were told form one chain from CLOSED to the state that is: none is missing, none is told twice.
fn assert_one_chain(breaker: &Shared, changes: Vec<Option<Change>>) {
    let changes = told(changes);
    let mut at = (Closed, 0);
    for (from, to, generation) in &changes {
        assert_eq!((at.0, at.1 + 1), (*from, *generation), "{changes:?}");
        at = (*to, *generation);
    }
    let after = breaker.snapshot(0);
    assert_eq!(at.0, after.state, "{changes:?}");
    let times = |state: State| changes.iter().filter(|(_, to, _)| *to == state).count() as u64;
    assert_eq!((times(Open), times(HalfOpen)), (after.times_opened, after.times_half_opened));
}

/// Two threads, two calls each: every call is counted, every change is told once, and the last one told is the state.
#[test]
fn every_change_is_told_once_and_every_call_counted() {
    for (left, right) in [
        ([(0, Failure), (SECOND, Success)], [(0, Failure), (SECOND, Failure)]),
        ([(0, Failure), (SECOND, Success)], [(SECOND, Success), (SECOND, Ignored)]),
        ([(0, Timeout), (2 * SECOND, Success)], [(SECOND, Failure), (2 * SECOND, Timeout)]),
    ] {
        check([()], move || {
            let breaker = Shared::closed(rules(1, 1, 1), 0);
            let clock = Clock::default();
            let (mut changes, more) = both(live(&breaker, &clock, left), live(&breaker, &clock, right));
            changes.extend(more);
            assert_one_chain(&breaker, changes);
            let counters = breaker.snapshot(0).counters;
            assert_eq!(4, counters.total());
            assert!(counters.timed_out <= counters.failed);
        });
    }
}
