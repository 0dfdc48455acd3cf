//! Numbers that wrap: a generation has 20 bits, and a slot may remember one from long ago.

use switchgear::breaker::transition::Event;
use switchgear::{Breaker, Outcome, Permit, Rules, State};

const SECOND: u64 = 1_000_000_000;
const CIRCLE: u32 = 1 << 20;

fn admitted(breaker: &Breaker, now_ns: u64) -> Permit {
    breaker.acquire(|| now_ns).0.expect("admitted")
}

fn fail(breaker: &Breaker, permit: Permit, now_ns: u64) {
    breaker.settle(permit, Outcome::Failure, || now_ns);
}

/// A lease that nobody gave back holds a slot of its own generation only, also when the numbers have gone half around since,
/// and even while its deadline has not come.
#[test]
fn a_slot_left_taken_long_ago_is_free() {
    for changes in [1, CIRCLE / 2 - 1, CIRCLE / 2, CIRCLE / 2 + 1, CIRCLE - 4] {
        let breaker = Breaker::new(Rules { lease_ns: 1_000_000 * SECOND, ..Rules::new(1, 2, SECOND) });
        fail(&breaker, admitted(&breaker, 0), 0);
        let (probe, _hangs) = (admitted(&breaker, SECOND), admitted(&breaker, SECOND));
        fail(&breaker, probe, SECOND);
        for _ in 0..changes {
            breaker.command(Event::Reset, SECOND);
        }
        fail(&breaker, admitted(&breaker, SECOND), SECOND);
        let probes = [admitted(&breaker, 2 * SECOND), admitted(&breaker, 2 * SECOND)];
        assert_eq!(probes[0].generation(), probes[1].generation(), "after {changes} changes");
        assert!(breaker.acquire(|| 2 * SECOND).0.is_err(), "after {changes} changes");
    }
}

/// A generation begins at 0 again, and the permits of its predecessor are late there as anywhere.
#[test]
fn the_generation_after_the_last_is_the_first() {
    let breaker = Breaker::new(Rules::new(1, 1, SECOND));
    for _ in 1..CIRCLE {
        breaker.command(Event::Reset, 0);
    }
    let last = admitted(&breaker, 0);
    assert_eq!(CIRCLE - 1, last.generation());
    let change = breaker.command(Event::ForceOpen, 0).expect("a change");
    assert_eq!((State::Open, 0), (change.to, change.generation));
    breaker.command(Event::ForceClose, 0);
    fail(&breaker, last, 0);
    assert_eq!((State::Closed, 1), (breaker.block().state(), breaker.block().snapshot(0).counters.late));
}
