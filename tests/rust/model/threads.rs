//! Threads of the operating system on one breaker: nothing is lost, nothing happens twice.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;

use switchgear::{Breaker, Change, Counters, Outcome, Permit, Rejected, Rules, State};

const SECOND: u64 = 1_000_000_000;
const NEVER_TRIPS: u32 = 1_000_000_000;

/// Run `work` in `threads` threads that start together.
fn together<T: Send>(threads: u32, work: impl Fn(u32) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(threads as usize);
    thread::scope(|scope| {
        let (start, work) = (&start, &work);
        let run = |number| {
            scope.spawn(move || {
                start.wait();
                work(number)
            })
        };
        let threads: Vec<_> = (0..threads).map(run).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

/// Eight threads that fail as often as the threshold says, all together, trip once; one failure fewer does not.
#[test]
fn as_many_failures_as_the_threshold_trip_once() {
    const EACH: u32 = 2_000;
    for (threshold, trips) in [(8 * EACH, 1), (8 * EACH + 1, 0)] {
        let breaker = Breaker::new(Rules::new(threshold, 1, SECOND));
        let changes = together(8, |_| {
            let fail = |_| breaker.settle(breaker.acquire(|| 0).0.expect("CLOSED"), Outcome::Failure, || 0);
            (0..EACH).filter_map(fail).collect::<Vec<_>>()
        });
        assert_eq!(trips, changes.concat().len());
        let after = breaker.block().snapshot(0);
        assert_eq!((trips as u64, u64::from(8 * EACH), 0), (after.times_opened, after.counters.failed, after.counters.late));
        assert_eq!(if trips == 1 { 0 } else { u64::from(threshold) - 1 }, after.count);
    }
}

/// Thirty-two threads at the moment of the reset: exactly `max_probes` pass, one makes the change, the rest are rejected.
#[test]
fn a_stampede_at_the_reset_gives_exactly_max_probes() {
    for max_probes in [1, 2, 5, 16] {
        let breaker = Breaker::new(Rules { max_probes, ..Rules::new(1, 100, SECOND) });
        for round in 0..20 {
            let (opened, due) = (round * SECOND, (round + 1) * SECOND);
            if round == 0 {
                breaker.settle(breaker.acquire(|| 0).0.expect("CLOSED"), Outcome::Failure, || opened);
            }
            let arrivals = together(32, |_| breaker.acquire(|| due));
            let permits: Vec<Permit> = arrivals.iter().filter_map(|(arrival, _)| arrival.ok()).collect();
            assert_eq!(max_probes as usize, permits.len());
            assert_eq!(1, arrivals.iter().filter(|(_, change)| change.is_some()).count());
            let rejections = arrivals.iter().filter_map(|(arrival, _)| arrival.err());
            assert!(rejections.into_iter().all(|r| r == Rejected { state: State::HalfOpen, retry_after_ns: Some(SECOND), full: 0 }));
            // One fails and opens it again; the others are late.
            let changes = permits.iter().filter_map(|permit| breaker.settle(*permit, Outcome::Failure, || due));
            assert_eq!(1, changes.count());
        }
        let after = breaker.block().snapshot(20 * SECOND);
        assert_eq!((21, 20), (after.times_opened, after.times_half_opened));
        assert_eq!(20 * u64::from(32 - max_probes), after.counters.rejected);
        assert_eq!(20 * u64::from(max_probes - 1), after.counters.late);
        assert_eq!(20 * SECOND, after.open_ns);
    }
}

/// What one thread did.
#[derive(Default)]
struct Deeds {
    counters: Counters,
    changes: Vec<Change>,
}

/// Make `calls` calls with mixed outcomes. The clock goes 50 µs ahead with each call, so that resets come due.
fn work(breaker: &Breaker, clock: &AtomicU64, thread: u32, calls: u32) -> Deeds {
    let mut deeds = Deeds::default();
    let now = || clock.load(SeqCst);
    let mut dice = u64::from(thread) + 1;
    for _ in 0..calls {
        // xorshift64: not random, but no two failures are tied to each other.
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        clock.fetch_add(50_000, SeqCst);
        let (arrival, change) = breaker.acquire(now);
        deeds.changes.extend(change);
        let Ok(permit) = arrival else {
            deeds.counters.rejected += 1;
            continue;
        };
        let outcome = match dice >> 61 {
            0 | 1 => Outcome::Failure,
            2 => Outcome::Timeout,
            3 => Outcome::Ignored,
            _ => Outcome::Success,
        };
        match outcome {
            Outcome::Success => deeds.counters.successful += 1,
            Outcome::Ignored => deeds.counters.ignored += 1,
            Outcome::Failure | Outcome::Timeout => deeds.counters.failed += 1,
        }
        deeds.counters.timed_out += u64::from(outcome == Outcome::Timeout);
        deeds.changes.extend(breaker.settle(permit, outcome, now));
    }
    deeds
}

/// Eight threads with every outcome: the counters are the sum of what the threads did, while nothing trips and while everything does.
#[test]
fn counters_are_exact_after_any_concurrency() {
    const CALLS: u32 = 50_000;
    for failure_threshold in [NEVER_TRIPS, 2] {
        let (breaker, clock) = (Breaker::new(Rules::new(failure_threshold, 2, SECOND / 1_000)), AtomicU64::new(0));
        let deeds = together(8, |thread| work(&breaker, &clock, thread, CALLS));
        let sum = |pick: fn(&Counters) -> u64| deeds.iter().map(|deeds| pick(&deeds.counters)).sum::<u64>();
        let after = breaker.block().snapshot(clock.load(SeqCst));
        let expected = Counters {
            successful: sum(|c| c.successful),
            failed: sum(|c| c.failed),
            rejected: sum(|c| c.rejected),
            ignored: sum(|c| c.ignored),
            timed_out: sum(|c| c.timed_out),
            late: after.counters.late,
            would_have_rejected: 0,
        };
        assert_eq!(expected, after.counters);
        assert_eq!(u64::from(8 * CALLS), after.counters.total());
        assert_one_chain(deeds.into_iter().flat_map(|deeds| deeds.changes).collect(), after.state);
        assert_eq!(failure_threshold == 2, after.times_opened > 100, "opened {} times", after.times_opened);
    }
}

/// Every change was told, and told once: each begins in the state and the generation that the one before it left.
fn assert_one_chain(mut changes: Vec<Change>, state: State) {
    changes.sort_by_key(|change| change.generation);
    let mut at = (State::Closed, 0);
    for change in changes {
        assert_eq!((at.0, at.1 + 1), (change.from, change.generation));
        at = (change.to, change.generation);
    }
    assert_eq!(at.0, state);
}
