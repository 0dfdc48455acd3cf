//! Deliberately wrong variants of the gates, which loom must catch; see `wrong.rs`.

use std::sync::Arc;

use loom::sync::atomic::{AtomicU32, Ordering::SeqCst};
use switchgear::sync::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

use crate::setup::{both, check};

/// One place, by `Bulkhead::take` and `give_back`: two calls go through it, each with a lease of its own.
fn one_call_at_a_time(exchanges: bool) {
    check([()], move || {
        let (place, inside) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU32::new(0)));
        let call = |place: Arc<AtomicU64>, inside: Arc<AtomicU32>, lease: u64| {
            move || {
                if place.load(Relaxed) != 0 {
                    return;
                }
                if exchanges {
                    if place.compare_exchange(0, lease, Relaxed, Relaxed).is_err() {
                        return;
                    }
                } else {
                    place.swap(lease, Relaxed);
                }
                assert_eq!(0, inside.fetch_add(1, SeqCst), "two calls have one place");
                inside.fetch_sub(1, SeqCst);
                let _ = place.compare_exchange(lease, 0, Relaxed, Relaxed);
            }
        };
        both(call(place.clone(), inside.clone(), 1), call(place.clone(), inside, 2));
        assert_eq!(0, place.load(Acquire));
    });
}

/// The shape of the core.
#[test]
fn a_place_is_taken_by_an_exchange() {
    one_call_at_a_time(true);
}

/// Wrong: the place was free a moment ago.
#[test]
#[should_panic(expected = "two calls have one place")]
fn loom_finds_the_place_that_is_looked_at_and_then_taken() {
    one_call_at_a_time(false);
}

/// A place whose lease, 1, is over: its holder settles as a successor, 2, takes it.
fn the_successor_keeps_its_place(compares: bool) {
    check([()], move || {
        let place = Arc::new(AtomicU64::new(1));
        let other = place.clone();
        let settle = move || {
            if compares {
                let _ = other.compare_exchange(1, 0, Relaxed, Relaxed);
            } else {
                other.swap(0, Relaxed);
            }
        };
        let take = || {
            let mut held = place.load(Relaxed);
            while let Err(found) = place.compare_exchange(held, 2, Relaxed, Relaxed) {
                held = found;
            }
        };
        both(settle, take);
        assert_eq!(2, place.load(Acquire), "the successor's place was freed");
    });
}

/// The shape of the core.
#[test]
fn a_place_is_given_back_by_its_lease() {
    the_successor_keeps_its_place(true);
}

/// Wrong: who has taken a place is believed to have it still.
#[test]
#[should_panic(expected = "the successor's place was freed")]
fn loom_finds_the_place_that_is_given_back_unseen() {
    the_successor_keeps_its_place(false);
}

/// A ramp's begin, tagged with its generation, 1; the other thread moves the breaker on to 2 and begins that one's ramp.
fn the_next_ramp_stays_begun(looks: bool) {
    check([()], move || {
        let (generation, began) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(0)));
        let (other_generation, other_began) = (generation.clone(), began.clone());
        let begin_the_first = move || {
            let mut found = other_began.load(Acquire);
            while found != 1 {
                if looks && other_generation.load(Relaxed) != 1 {
                    return;
                }
                match other_began.compare_exchange(found, 1, AcqRel, Acquire) {
                    Ok(_) => return,
                    Err(now) => found = now,
                }
            }
        };
        let begin_the_second = || {
            generation.swap(2, AcqRel);
            let mut found = began.load(Acquire);
            while let Err(now) = began.compare_exchange(found, 2, AcqRel, Acquire) {
                found = now;
            }
        };
        both(begin_the_first, begin_the_second);
        assert_eq!(2, began.load(Acquire), "a call of the past has begun the ramp before anew");
    });
}

/// The shape of the core.
#[test]
fn a_ramp_is_begun_after_a_look_at_the_generation() {
    the_next_ramp_stays_begun(true);
}

/// Wrong: what is not of one's own generation is believed to be older.
#[test]
#[should_panic(expected = "a call of the past has begun the ramp before anew")]
fn loom_finds_the_ramp_that_is_begun_without_a_look() {
    the_next_ramp_stays_begun(false);
}
