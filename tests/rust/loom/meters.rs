//! Trip rules that look back: outcomes that are recorded at the same time are neither lost nor doubled, and trip once.

use std::sync::Arc;

use switchgear::Outcome::{Failure, Success};
use switchgear::State::{Closed, Open};
use switchgear::breaker::{Met, MeterRule, Rate, Score, Window};
use switchgear::{Breaker, Cause, Meters, Outcome, Rules};

use crate::setup::{SECOND, Shared, both, check, rules, told};

/// A breaker that nothing but this rule trips.
fn metered(rule: MeterRule) -> Shared {
    let rules = Rules { trip: Score::NONE, ..rules(1, 1, 1) };
    Shared(Arc::new(Breaker::with_meters(rules, Meters::new(&[(0, rule)]))))
}

/// A window of so many calls, all of which have to fail.
fn window(calls: u32, minimum_calls: u64) -> Shared {
    metered(MeterRule::Rate(Rate { window: Window::Calls(calls), rate: 1.0, minimum_calls, slower_than_ns: 0 }))
}

fn settle(breaker: &Shared, outcome: Outcome) -> impl FnOnce() -> Option<switchgear::Change> + 'static {
    let breaker = breaker.clone();
    let permit = breaker.admitted(0).0;
    move || breaker.settle(permit, outcome, 0)
}

/// Two failures that fill the window together trip once, by a window that holds both.
#[test]
fn two_failures_that_fill_a_window_trip_once() {
    check([false, true], || {
        let breaker = window(2, 2);
        let (left, right) = both(settle(&breaker, Failure), settle(&breaker, Failure));
        assert_eq!(vec![(Closed, Open, 1)], told([left, right]));
        let cause = left.or(right).unwrap().cause;
        assert_eq!(Cause::Rule(Met { rule: 0, hits: 2, calls: 2 }), cause);
        left.is_some()
    });
}

/// A failure pushed out of a full window by another call is gone, whoever was first; what stays in the ring is what the word says.
#[test]
fn what_leaves_a_window_leaves_it_once() {
    check([()], || {
        let breaker = window(2, 2);
        for outcome in [Failure, Success] {
            settle(&breaker, outcome)();
        }
        let (left, right) = both(settle(&breaker, Success), settle(&breaker, Failure));
        assert_eq!((None, None), (left, right));
        // One success more, and one failure is left in the window, at the most; two failures fill it.
        settle(&breaker, Success)();
        assert_eq!(None, settle(&breaker, Failure)());
        assert_eq!(vec![(Closed, Open, 1)], told([settle(&breaker, Failure)()]));
    });
}

/// A late outcome leaves no trace in the window of the generation after.
#[test]
fn an_outcome_beside_a_reset_is_recorded_before_it_or_not_at_all() {
    use switchgear::breaker::transition::Event::Reset;
    check([()], || {
        let breaker = window(2, 2);
        let late = settle(&breaker, Failure);
        let other = breaker.clone();
        let (_, reset) = both(late, move || other.command(Reset, 0));
        assert!(reset.is_none() || reset.is_some_and(|change| change.to == Closed));
        assert_eq!(None, settle(&breaker, Failure)());
        assert_eq!(vec![(Closed, Open, 2)], told([settle(&breaker, Failure)()]));
    });
}

/// Outcomes that fall into a bucket begun anew are all counted there, and none twice.
#[test]
fn outcomes_that_begin_a_bucket_together_are_counted_once_each() {
    check([()], || {
        let rate = Rate { window: Window::Buckets(SECOND / 10), rate: 1.0, minimum_calls: 4, slower_than_ns: 0 };
        let breaker = metered(MeterRule::Rate(rate));
        // In the bucket's place since its last lap.
        assert_eq!(None, settle(&breaker, Failure)());
        let at = |breaker: &Shared, now_ns| {
            let (breaker, permit) = (breaker.clone(), breaker.admitted(0).0);
            move || breaker.settle(permit, Failure, now_ns)
        };
        let (left, right) = both(at(&breaker, SECOND), at(&breaker, SECOND));
        assert_eq!((None, None), (left, right));
        assert_eq!(None, at(&breaker, SECOND)());
        let trip = at(&breaker, SECOND)();
        assert_eq!(Cause::Rule(Met { rule: 0, hits: 4, calls: 4 }), trip.expect("the fourth trips").cause);
    });
}

/// A CUSUM in a word of its own loses no step.
#[test]
fn steps_of_a_score_are_taken_one_after_the_other() {
    check([()], || {
        let breaker = metered(MeterRule::Score(Score { up: 2, down: 1, limit: 5 }));
        let (left, right) = both(settle(&breaker, Failure), settle(&breaker, Failure));
        assert_eq!((None, None), (left, right));
        let trip = settle(&breaker, Failure)();
        assert_eq!(Cause::Rule(Met { rule: 0, hits: 5, calls: 0 }), trip.expect("4 + 2 is past 5").cause);
    });
}
