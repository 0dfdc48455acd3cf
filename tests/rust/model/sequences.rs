//! Sequential equivalence: any sequence of calls, outcomes, waits and commands gives the core and the reference the same answers.

use std::cell::RefCell;
use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use switchgear::breaker::Score;
use switchgear::breaker::transition::Event;
use switchgear::{Breaker, Change, Outcome, Permit, Rules};

use crate::reference::{Reference, Ticket, Told};

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;
const TICK: u64 = 100_000;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Acquire,
    Settle(Index, Outcome),
    Wait(u64),
    /// Until the reset timeout or the lease, counted from now, is over, or nearly: the part of a tick to stop early or late by.
    WaitReset(i64),
    WaitLease(i64),
    Command(Event),
    ResetMetrics,
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![3 => Just(Outcome::Success), 4 => Just(Outcome::Failure), 1 => Just(Outcome::Timeout), 1 => Just(Outcome::Ignored)]
}

fn step() -> impl Strategy<Value = Step> {
    let offset = || prop_oneof![Just(0), Just(-1), Just(1), -200_000_i64..=200_000];
    let events = prop_oneof![Just(Event::ForceOpen), Just(Event::ForceClose), Just(Event::Disable), Just(Event::Reset)];
    prop_oneof![
        30 => Just(Step::Acquire),
        30 => (any::<Index>(), outcome()).prop_map(|(which, outcome)| Step::Settle(which, outcome)),
        4 => (0..=2 * TICK).prop_map(Step::Wait),
        1 => (0..=DAY).prop_map(Step::Wait),
        8 => offset().prop_map(Step::WaitReset),
        3 => offset().prop_map(Step::WaitLease),
        3 => events.prop_map(Step::Command),
        1 => Just(Step::ResetMetrics),
    ]
}

fn rules() -> impl Strategy<Value = Rules> {
    let threshold = || prop_oneof![5 => 1..=4_u32, 1 => 1..=1_000_000_000_u32, 1 => Just(1_000_000_000)];
    let duration = || prop_oneof![1..=3 * TICK, 1..=100 * SECOND, (1..=100_u64).prop_map(|n| n * TICK), 1..=DAY];
    let max_probes = prop_oneof![4 => 1..=3_u32, 1 => 1..=16_u32];
    (threshold(), threshold(), max_probes, duration(), duration()).prop_map(
        |(failure_threshold, success_threshold, max_probes, reset_timeout_ns, lease_ns)| Rules {
            trip: Score::consecutive(failure_threshold),
            trip_rule: 0,
            success_threshold,
            max_probes,
            reset_timeout_ns,
            lease_ns,
            ramps: false,
            number: 0,
        },
    )
}

fn story() -> impl Strategy<Value = (Rules, u64, Vec<Step>)> {
    (rules(), 0..=365 * DAY, prop::collection::vec(step(), 0..200))
}

/// A core and a reference that live through the same.
struct Pair {
    rules: Rules,
    core: Breaker,
    reference: Reference,
    held: Vec<(Permit, Ticket)>,
    now: u64,
    /// What came about, so that a test can tell whether the sequences reach everything that they are to compare.
    seen: BTreeSet<String>,
}

impl Pair {
    fn new(rules: Rules, now: u64) -> Self {
        Self { rules, core: Breaker::new(rules), reference: Reference::new(rules), held: Vec::new(), now, seen: BTreeSet::new() }
    }

    fn live(&mut self, step: &Step) {
        match step {
            Step::Acquire => self.acquire(),
            Step::Settle(which, outcome) if !self.held.is_empty() => self.settle(which.index(self.held.len()), *outcome),
            Step::Settle(..) => {}
            Step::Wait(span) => self.now += span,
            Step::WaitReset(offset) => self.now += self.rules.reset_timeout_ns.saturating_add_signed(*offset),
            Step::WaitLease(offset) => self.now += self.rules.lease_ns.saturating_add_signed(*offset),
            Step::Command(event) => {
                let (change, told) = (self.core.command(*event, self.now), self.reference.command(*event, self.now));
                self.compare(told, change);
            }
            Step::ResetMetrics => {
                self.core.block().reset_metrics(self.now);
                self.reference.reset_metrics(self.now);
            }
        }
        let expected = self.reference.snapshot(self.now);
        assert_eq!(expected, self.core.block().snapshot(self.now));
        assert_eq!(expected.state, self.core.block().state());
    }

    fn acquire(&mut self) {
        let (arrival, change) = self.core.acquire(|| self.now);
        let (expected, told) = self.reference.acquire(self.now);
        self.compare(told, change);
        assert_eq!(expected.map(|ticket| ticket.generation), arrival.map(|permit| u64::from(permit.generation())));
        match (arrival, expected) {
            (Ok(permit), Ok(ticket)) => self.held.push((permit, ticket)),
            (rejected, _) => drop(self.seen.insert(format!("rejected while {}", rejected.unwrap_err().state.name()))),
        }
    }

    fn settle(&mut self, which: usize, outcome: Outcome) {
        let (permit, ticket) = self.held.swap_remove(which);
        let late = self.core.block().snapshot(self.now).counters.late;
        let change = self.core.settle(permit, outcome, || self.now);
        let told = self.reference.settle(ticket, outcome, self.now);
        self.compare(told, change);
        let after = self.core.block().snapshot(self.now);
        if after.counters.late > late {
            self.seen.insert(format!("late {outcome:?} while {}", after.state.name()));
        }
    }

    fn compare(&mut self, told: Option<Told>, change: Option<Change>) {
        assert_eq!(told, change.map(|change| (change.from, change.to, u64::from(change.generation), change.retry_after_ns)));
        if let Some(change) = change {
            assert_eq!(self.now, change.now_ns);
            self.seen.insert(format!("{} to {}", change.from.name(), change.to.name()));
        }
    }
}

fn live(rules: Rules, start: u64, steps: &[Step]) -> BTreeSet<String> {
    let mut pair = Pair::new(rules, start);
    for step in steps {
        pair.live(step);
    }
    pair.seen
}

/// A thousand sequences, or `PROPTEST_CASES`. A failing one is printed, shrunk, and not kept: it belongs into a test of its own.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { 1_000 };
    ProptestConfig { cases, failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(config())]

    /// Whatever happens, in whatever order: verdicts, waiting times, states, changes, counters and times in OPEN are equal.
    #[test]
    fn the_core_and_the_reference_answer_alike((rules, start, steps) in story()) {
        live(rules, start, &steps);
    }
}

/// The random sequences reach every change of state, both rejections, and late results of each kind in each state that counts them.
#[test]
fn the_sequences_reach_all_that_they_compare() {
    let seen = RefCell::new(BTreeSet::new());
    let config = ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
        .run(&story(), |(rules, start, steps)| {
            seen.borrow_mut().extend(live(rules, start, &steps));
            Ok(())
        })
        .unwrap();
    let states = ["CLOSED", "OPEN", "HALF_OPEN", "DISABLED"];
    let mut expected: BTreeSet<_> = ["OPEN", "HALF_OPEN"].iter().map(|state| format!("rejected while {state}")).collect();
    for state in states {
        let others = states.iter().filter(|other| **other != state && (state, **other) != ("CLOSED", "HALF_OPEN"));
        expected.extend(others.filter(|other| (state, **other) != ("DISABLED", "HALF_OPEN")).map(|other| format!("{state} to {other}")));
    }
    for outcome in ["Success", "Failure", "Timeout", "Ignored"] {
        expected.extend(["CLOSED", "OPEN", "HALF_OPEN"].map(|state| format!("late {outcome} while {state}")));
    }
    assert_eq!(expected, seen.into_inner());
}
