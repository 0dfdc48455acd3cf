//! What every loom test stands on: how far loom searches, threads, and breakers brought to the state that a test begins in.
//!
//! The story is told on one clock: a trip at 0, the first probe at [`SECOND`], whose lease ends at twice that. Generations
//! follow from it: CLOSED is 0, OPEN is 1, HALF_OPEN is 2, and what comes of the probes is 3.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use loom::thread;
use switchgear::{Block, Breaker, Change, Outcome, Permit, Rejected, Rules, Snapshot, State};

/// The reset timeout and the lease, both.
pub const SECOND: u64 = 1_000_000_000;

/// The generation of the HALF_OPEN that follows the first trip.
pub const FIRST_HALF_OPEN: u32 = 2;

/// How often loom may take the processor from a thread that could go on, where there are too many orders to try all. An exchange
/// that is disturbed, repeated and disturbed again needs three. Without a bound, these tests take minutes each.
const PREEMPTIONS: usize = 3;

/// Run `test` in every order that `PREEMPTIONS`, or `LOOM_MAX_PREEMPTIONS`, leaves. What it returns has to come out as each of
/// `outcomes` and as nothing else: where a race never happens, nothing was proven about it.
pub fn check<T: Ord + Debug + Send + 'static>(outcomes: impl IntoIterator<Item = T>, test: impl Fn() -> T + Send + Sync + 'static) {
    check_within(PREEMPTIONS, outcomes, test);
}

/// As [`check`], for long stories in which fewer preemptions do.
pub fn check_within<T: Ord + Debug + Send + 'static>(
    preemptions: usize,
    outcomes: impl IntoIterator<Item = T>,
    test: impl Fn() -> T + Send + Sync + 'static,
) {
    let mut search = loom::model::Builder::new();
    search.preemption_bound = search.preemption_bound.or(Some(preemptions));
    run(&search, outcomes, test);
}

/// Run `test` in every order there is.
pub fn check_all<T: Ord + Debug + Send + 'static>(outcomes: impl IntoIterator<Item = T>, test: impl Fn() -> T + Send + Sync + 'static) {
    run(&loom::model::Builder::new(), outcomes, test);
}

fn run<T: Ord + Debug + Send + 'static>(
    search: &loom::model::Builder,
    outcomes: impl IntoIterator<Item = T>,
    test: impl Fn() -> T + Send + Sync + 'static,
) {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let notes = seen.clone();
    search.check(move || {
        let outcome = test();
        notes.lock().unwrap().insert(outcome);
    });
    assert_eq!(BTreeSet::from_iter(outcomes), *seen.lock().unwrap(), "outcomes: expected, seen");
}

/// Run two threads to their ends.
pub fn both<A: 'static, B>(left: impl FnOnce() -> A + 'static, right: impl FnOnce() -> B) -> (A, B) {
    let left = thread::spawn(left);
    let right = right();
    (left.join().unwrap(), right)
}

/// Run three threads to their ends.
pub fn all_three<A: 'static, B: 'static, C>(
    first: impl FnOnce() -> A + 'static,
    second: impl FnOnce() -> B + 'static,
    third: impl FnOnce() -> C,
) -> (A, B, C) {
    let (first, second) = (thread::spawn(first), thread::spawn(second));
    let third = third();
    (first.join().unwrap(), second.join().unwrap(), third)
}

/// A breaker that threads share, with the verbs that the tests speak.
#[derive(Clone)]
pub struct Shared(pub Arc<Breaker>);

impl Shared {
    /// CLOSED since 0, with `failures` counted already.
    pub fn closed(rules: Rules, failures: u32) -> Self {
        let breaker = Self(Arc::new(Breaker::new(rules)));
        for _ in 0..failures {
            let (permit, _) = breaker.admitted(0);
            breaker.settle(permit, Outcome::Failure, 0);
        }
        breaker
    }

    /// OPEN since 0, by a trip.
    pub fn open(rules: Rules) -> Self {
        let breaker = Self::closed(rules, rules.trip.limit);
        assert_eq!(State::Open, breaker.state());
        breaker
    }

    /// HALF_OPEN since one second, with `N` probes out.
    pub fn half_open<const N: usize>(rules: Rules) -> (Self, [Permit; N]) {
        let breaker = Self::open(rules);
        let probes = std::array::from_fn(|_| breaker.admitted(SECOND).0);
        assert_eq!(State::HalfOpen, breaker.state());
        (breaker, probes)
    }

    pub fn acquire(&self, now_ns: u64) -> (Result<Permit, Rejected>, Option<Change>) {
        self.0.acquire(|| now_ns)
    }

    /// Acquire where nothing can be in the way.
    pub fn admitted(&self, now_ns: u64) -> (Permit, Option<Change>) {
        let (permit, change) = self.acquire(now_ns);
        (permit.expect("admitted"), change)
    }

    pub fn settle(&self, permit: Permit, outcome: Outcome, now_ns: u64) -> Option<Change> {
        self.0.settle(permit, outcome, || now_ns)
    }

    pub fn command(&self, event: switchgear::breaker::transition::Event, now_ns: u64) -> Option<Change> {
        self.0.command(event, now_ns)
    }

    pub fn block(&self) -> &Block {
        self.0.block()
    }

    pub fn state(&self) -> State {
        self.block().state()
    }

    pub fn snapshot(&self, now_ns: u64) -> Snapshot {
        self.block().snapshot(now_ns)
    }
}

/// Rules with a second everywhere: `failures` trip, `successes` close, `probes` at a time.
pub fn rules(failures: u32, successes: u32, probes: u32) -> Rules {
    Rules { max_probes: probes, ..Rules::new(failures, successes, SECOND) }
}

/// The changes of state that were told, as (from, to, generation), in the order of their generations.
pub fn told(changes: impl IntoIterator<Item = Option<Change>>) -> Vec<(State, State, u32)> {
    let mut told: Vec<_> = changes.into_iter().flatten().map(|change| (change.from, change.to, change.generation)).collect();
    told.sort_by_key(|change| change.2);
    told
}
