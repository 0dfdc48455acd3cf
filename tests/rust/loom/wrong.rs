//! Deliberately wrong variants, which loom must catch: they show that the tests beside this file can fail, and they keep the
//! mistakes that were made, or nearly made, in the core.
//!
//! Each is the core's own shape cut down to the two or three atomics that matter. The right shape runs through the very test
//! that the wrong one must fail, and differs from it in one named value.

use std::sync::Arc;

use switchgear::sync::{
    AtomicU64,
    Ordering::{self, AcqRel, Acquire, Relaxed, Release},
};

use crate::setup::{both, check_all};

/// One probe slot, and the generation of the breaker. A probe of the first generation is out.
struct Gate {
    generation: AtomicU64,
    slot: AtomicU64,
    shape: GateShape,
}

/// How a caller makes sure that the slot it took is a slot of its own generation.
#[derive(Clone, Copy)]
struct GateShape {
    /// Read the generation again, once the slot is taken.
    rechecks: bool,
    /// How a slot is read before it is taken.
    read_slot: Ordering,
    /// How a slot is given back.
    write_slot: Ordering,
}

const GATE: GateShape = GateShape { rechecks: true, read_slot: Acquire, write_slot: Release };

const FREE: u64 = 0;
const TAKEN: u64 = 1;

impl Gate {
    fn with_a_probe_out(shape: GateShape) -> Self {
        Self { generation: AtomicU64::new(1), slot: AtomicU64::new(TAKEN), shape }
    }

    /// `Leases::take`.
    fn acquire(&self) -> bool {
        let generation = self.generation.load(Acquire);
        if generation != 1 || self.slot.compare_exchange(FREE, TAKEN, self.shape.read_slot, Relaxed).is_err() {
            return false;
        }
        if self.shape.rechecks && self.generation.load(Relaxed) != generation {
            self.slot.swap(FREE, self.shape.write_slot);
            return false;
        }
        true
    }

    /// `Block::settle`, for a failure: first the state, then the slot.
    fn fail(&self) {
        self.generation.fetch_add(1, AcqRel);
        self.slot.swap(FREE, self.shape.write_slot);
    }
}

/// The rule of `probes::the_slot_of_a_failed_probe_serves_nobody_of_its_generation`.
fn no_probe_goes_out_after_one_has_failed(shape: GateShape) {
    check_all([()], move || {
        let gate = Arc::new(Gate::with_a_probe_out(shape));
        let other = gate.clone();
        let (admitted, ()) = both(move || other.acquire(), || gate.fail());
        assert!(!admitted, "a probe went out of a generation that had failed");
    });
}

/// The shape of the core: take the slot, then make sure that it was still worth taking.
#[test]
fn a_slot_taken_and_checked_lets_nobody_out_late() {
    no_probe_goes_out_after_one_has_failed(GATE);
}

/// Wrong: the generation was read before the slot was taken, and that is believed to be enough.
#[test]
#[should_panic(expected = "a probe went out of a generation that had failed")]
fn loom_finds_the_missing_second_look_at_the_generation() {
    no_probe_goes_out_after_one_has_failed(GateShape { rechecks: false, ..GATE });
}

/// Wrong: the second look is there, but the slot carries no news, so the look may find the word as it was. This was a bug.
#[test]
#[should_panic(expected = "a probe went out of a generation that had failed")]
fn loom_finds_the_slot_that_is_read_relaxed() {
    no_probe_goes_out_after_one_has_failed(GateShape { read_slot: Relaxed, ..GATE });
}

/// Wrong: the same from the other side.
#[test]
#[should_panic(expected = "a probe went out of a generation that had failed")]
fn loom_finds_the_slot_that_is_given_back_relaxed() {
    no_probe_goes_out_after_one_has_failed(GateShape { write_slot: Relaxed, ..GATE });
}

/// How a failure is counted.
#[derive(Clone, Copy)]
enum Counting {
    /// Write only what was computed from the value that is still there.
    Exchange,
    /// Read, compute, write.
    LoadThenStore,
}

/// Count one failure of two; whether it was this one that tripped.
fn fail(failures: &AtomicU64, counting: Counting) -> bool {
    let mut old = failures.load(Acquire);
    loop {
        let new = old + 1;
        match counting {
            Counting::LoadThenStore => drop(failures.swap(new, Release)),
            Counting::Exchange => {
                if let Err(found) = failures.compare_exchange(old, new, AcqRel, Acquire) {
                    old = found;
                    continue;
                }
            }
        }
        return new == 2;
    }
}

/// The rule of `trip::two_failures_that_reach_the_threshold_trip_once`.
fn two_failures_trip_once(counting: Counting) {
    check_all([()], move || {
        let failures = Arc::new(AtomicU64::new(0));
        let other = failures.clone();
        let (left, right) = both(move || fail(&other, counting), || fail(&failures, counting));
        assert_eq!(1, u32::from(left) + u32::from(right), "two failures, and not one trip");
    });
}

/// The shape of the core: one exchange decides.
#[test]
fn an_exchange_trips_once() {
    two_failures_trip_once(Counting::Exchange);
}

/// Wrong: both read the same count, and one failure is lost.
#[test]
#[should_panic(expected = "two failures, and not one trip")]
fn loom_finds_the_load_and_store_in_place_of_the_exchange() {
    two_failures_trip_once(Counting::LoadThenStore);
}
