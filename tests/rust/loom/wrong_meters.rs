//! Deliberately wrong variants of the meters, which loom must catch; see `wrong.rs`.

use std::sync::Arc;

use switchgear::sync::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use crate::setup::{both, check};

/// A window of three calls, without the count of its hits: a number of calls and the latest outcome in one word, and the ring.
struct Ring {
    control: AtomicU64,
    cells: [AtomicU64; 3],
    /// Look at the control word again before the ring is written.
    looks_twice: bool,
}

const VERSION: u64 = 2;

impl Ring {
    /// Full of successes, but for the latest call, which was a hit.
    fn after_a_hit(looks_twice: bool) -> Self {
        Self { control: AtomicU64::new(1), cells: std::array::from_fn(|_| AtomicU64::new(0)), looks_twice }
    }

    /// `Calls::record`, of a success.
    fn record(&self) {
        loop {
            let control = self.control.load(Acquire);
            let latest = (control / 2 + 2) % 3;
            if self.write_pending(control, latest) && self.control.compare_exchange(control, (control / 2 + 1) * 2, AcqRel, Acquire).is_ok()
            {
                return;
            }
        }
    }

    fn write_pending(&self, control: u64, latest: u64) -> bool {
        let cell = &self.cells[usize::try_from(latest).unwrap()];
        let found = cell.load(Acquire);
        let flip = found & 1 ^ control & 1;
        if flip == 0 {
            return true;
        }
        if self.looks_twice && self.control.load(Acquire) != control {
            return false;
        }
        cell.compare_exchange(found, (found ^ flip) + VERSION, AcqRel, Acquire).is_ok()
    }
}

/// One thread sleeps while the other goes all the way round: what it wakes up to write belongs to a call that has left.
fn no_hit_comes_back(looks_twice: bool) {
    check([()], move || {
        let ring = Arc::new(Ring::after_a_hit(looks_twice));
        let other = ring.clone();
        both(move || other.record(), || (0..4).for_each(|_| ring.record()));
        // Five successes after the hit: it has left, and the latest call of now is another cell's.
        assert_eq!(0, ring.cells[2].load(Acquire) & 1, "a hit came back into the window");
    });
}

/// The shape of the core.
#[test]
fn a_ring_written_after_a_second_look_forgets_what_left() {
    no_hit_comes_back(true);
}

/// Wrong: the version of the cell is believed to be enough; but a cell that is read late has its present version.
#[test]
#[should_panic(expected = "a hit came back into the window")]
fn loom_finds_the_ring_that_is_written_without_a_second_look() {
    no_hit_comes_back(false);
}

/// A bucket: lap in the upper half, count in the lower.
const LAP: u64 = 1 << 32;

/// `buckets::count`, for a call of the first lap; the other thread begins the second.
fn a_bucket_counts_its_own_lap(takes_back: bool) {
    check([()], move || {
        let bucket = Arc::new(AtomicU64::new(1));
        let other = bucket.clone();
        let count = move || {
            if bucket.load(Acquire) >= LAP {
                return;
            }
            let found = bucket.fetch_add(1, AcqRel);
            if takes_back && found >= LAP {
                bucket.compare_exchange(found + 1, found, AcqRel, Acquire).unwrap();
            }
        };
        let begin = || {
            let mut old = other.load(Acquire);
            while let Err(found) = other.compare_exchange(old, LAP | 1, AcqRel, Acquire) {
                old = found;
            }
        };
        both(count, begin);
        assert_eq!(LAP | 1, other.load(Acquire), "a bucket counted a call of another lap");
    });
}

/// The shape of the core.
#[test]
fn an_add_that_came_too_late_is_taken_back() {
    a_bucket_counts_its_own_lap(true);
}

/// Wrong: the lap was read before the add, and that is believed to be enough.
#[test]
#[should_panic(expected = "a bucket counted a call of another lap")]
fn loom_finds_the_add_that_nobody_takes_back() {
    a_bucket_counts_its_own_lap(false);
}

/// A CUSUM: two failures, of 2 each.
fn no_step_is_lost(exchanges: bool) {
    check([()], move || {
        let level = Arc::new(AtomicU64::new(0));
        let fail = move |level: &AtomicU64| {
            let mut old = level.load(Acquire);
            loop {
                if !exchanges {
                    level.swap(old + 2, Release);
                    return;
                }
                match level.compare_exchange(old, old + 2, AcqRel, Acquire) {
                    Ok(_) => return,
                    Err(found) => old = found,
                }
            }
        };
        let other = level.clone();
        both(move || fail(&other), || fail(&level));
        assert_eq!(4, level.load(Relaxed), "a step of the score was lost");
    });
}

/// The shape of the core.
#[test]
fn a_score_is_moved_by_an_exchange() {
    no_step_is_lost(true);
}

/// Wrong: both start from the same level.
#[test]
#[should_panic(expected = "a step of the score was lost")]
fn loom_finds_the_score_that_is_stored() {
    no_step_is_lost(false);
}
