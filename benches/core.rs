//! The core alone: what a call costs in Rust, from one thread and from two, without Python, a clock or an operation.
//!
//! `cargo bench --bench core`. Times are per call. The floor of each run is one relaxed add to a counter of the thread's own,
//! the least that a breaker that counts can cost; the two-thread rows stand beside a one-thread row of the same harness.

use std::cell::Cell;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use criterion::Criterion;
use switchgear::breaker::transition::{Event, transition};
use switchgear::breaker::{MeterRule, Packed, Rate, Score, Window, Word};
use switchgear::{Breaker, Meters, Outcome, Rules, State};

const SECOND: u64 = 1_000_000_000;
const NEVER_TRIPS: u32 = 1_000_000_000;

fn main() {
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: its numbers mean nothing. Run `cargo bench --bench core`.");
        std::process::exit(2);
    }
    let mut criterion =
        Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_millis(1_500)).configure_from_args();
    one_thread(&mut criterion);
    probes(&mut criterion);
    threads(&mut criterion);
    parts(&mut criterion);
    windows(&mut criterion);
    criterion.final_summary();
}

fn closed() -> Breaker {
    Breaker::new(Rules::new(NEVER_TRIPS, 2, SECOND))
}

fn open() -> Breaker {
    let breaker = Breaker::new(Rules::new(1, 2, SECOND));
    fail(&breaker, 0);
    breaker
}

#[inline(always)]
fn succeed(breaker: &Breaker) {
    if let (Ok(permit), _) = black_box(breaker).acquire(|| 0) {
        black_box(breaker.settle(permit, Outcome::Success, || 0));
    }
}

#[inline(always)]
fn fail(breaker: &Breaker, now_ns: u64) {
    if let (Ok(permit), _) = black_box(breaker).acquire(|| now_ns) {
        black_box(breaker.settle(permit, Outcome::Failure, || now_ns));
    }
}

#[inline(always)]
fn reject(breaker: &Breaker) {
    let _ = black_box(black_box(breaker).acquire(|| black_box(1)));
}

fn one_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("1 thread");
    let floor = AtomicU64::new(0);
    group.bench_function("floor: one relaxed add", |b| b.iter(|| black_box(&floor).fetch_add(1, Relaxed)));
    let breaker = closed();
    group.bench_function("acquire + success", |b| b.iter(|| succeed(&breaker)));
    let breaker = closed();
    group.bench_function("acquire + failure, below the threshold", |b| b.iter(|| fail(&breaker, 0)));
    let breaker = open();
    group.bench_function("rejection while OPEN", |b| b.iter(|| reject(&breaker)));
    group.finish();
}

/// Around the whole circle: the first probe after the reset, the second, which closes, and the failure that trips again.
fn probes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("1 thread");
    group.bench_function("trip, two probes, close", |b| {
        let (breaker, mut now_ns) = (open(), 0);
        b.iter(|| {
            now_ns += SECOND;
            for _ in 0..2 {
                if let (Ok(probe), _) = black_box(&breaker).acquire(|| now_ns) {
                    black_box(breaker.settle(probe, Outcome::Success, || now_ns));
                }
            }
            fail(&breaker, now_ns);
        });
        assert_eq!(State::Open, breaker.block().state(), "the circle was left");
    });
    group.bench_function("one probe of many", |b| {
        let breaker = Breaker::new(Rules { max_probes: 16, ..Rules::new(1, NEVER_TRIPS, SECOND) });
        fail(&breaker, 0);
        b.iter(|| {
            if let (Ok(probe), _) = black_box(&breaker).acquire(|| SECOND) {
                black_box(breaker.settle(probe, Outcome::Success, || SECOND));
            }
        });
        assert_eq!(State::HalfOpen, breaker.block().state(), "the probes closed it");
    });
    let breaker = Breaker::new(Rules::new(1, 2, SECOND));
    fail(&breaker, 0);
    let _probes = [breaker.acquire(|| SECOND), breaker.acquire(|| SECOND)];
    group.bench_function("rejection while HALF_OPEN, every probe out", |b| b.iter(|| black_box(&breaker).acquire(|| SECOND).0));
    group.finish();
}

/// Which counters the threads of a run write.
#[derive(Clone, Copy)]
enum Shards {
    /// Each its own: threads that were made one after another.
    Apart,
    /// All the same ones: a third thread came first in between.
    Shared,
}

fn threads(criterion: &mut Criterion) {
    let runs = [("1 thread, harness of 2", 1, Shards::Apart), ("2 threads", 2, Shards::Apart), ("2 threads, one shard", 2, Shards::Shared)];
    for (name, threads, shards) in runs {
        let mut group = criterion.benchmark_group(name);
        let breaker = closed();
        group.bench_function("acquire + success", |b| {
            b.iter_custom(|calls| side_by_side(threads, shards, calls, || succeed(&breaker)));
        });
        let breaker = closed();
        group.bench_function("acquire + failure, below the threshold", |b| {
            b.iter_custom(|calls| side_by_side(threads, shards, calls, || fail(&breaker, 0)));
        });
        let breaker = open();
        group.bench_function("rejection while OPEN", |b| {
            b.iter_custom(|calls| side_by_side(threads, shards, calls, || reject(&breaker)));
        });
        group.finish();
    }
}

/// The time that the slowest of `threads` threads takes for its `calls` calls.
fn side_by_side(threads: usize, shards: Shards, calls: u64, call: impl Fn() + Sync) -> Duration {
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        let mut running = Vec::new();
        for _ in 0..threads {
            let (ready, is_ready) = mpsc::channel();
            let (start, call) = (&start, &call);
            running.push(scope.spawn(move || {
                // The first count gives a thread its shard, so it has to happen in turn.
                call();
                ready.send(()).expect("somebody waits");
                start.wait();
                let begin = Instant::now();
                for _ in 0..calls {
                    call();
                }
                begin.elapsed()
            }));
            is_ready.recv().expect("a thread that is ready");
            if matches!(shards, Shards::Shared) {
                scope.spawn(call).join().expect("no panic");
            }
        }
        running.into_iter().map(|thread| thread.join().expect("no panic")).max().unwrap_or_default()
    })
}

fn parts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parts");
    let (rules, word) = (Rules::new(5, 2, SECOND), Word::unpack(0));
    for event in [Event::Arrival, Event::Success, Event::Failure] {
        group.bench_function(format!("transition, {event:?} in CLOSED"), |b| {
            b.iter(|| transition(black_box(&rules), black_box(word), black_box(event), black_box(SECOND), || black_box(7)));
        });
    }
    let breaker = open();
    group.bench_function("snapshot", |b| b.iter(|| black_box(&breaker).block().snapshot(black_box(SECOND))));
    group.finish();
}

/// A breaker with a window, and nothing that ever trips it.
fn metered(window: Window, slower_than_ns: u64) -> Breaker {
    let rate = Rate { window, rate: 1.0, minimum_calls: 2, slower_than_ns };
    let rules = Rules { trip: Score::NONE, ..Rules::new(1, 2, SECOND) };
    Breaker::with_meters(rules, Meters::new(&[(0, MeterRule::Rate(rate))]))
}

thread_local! {
    /// Each thread's own count of calls.
    static TURN: Cell<u64> = const { Cell::new(0) };
}

/// One failure in ten, the worst that a window of calls meets: each call moves it, and many of them its ring.
fn mixed(breaker: &Breaker, turn: &Cell<u64>) {
    turn.set(turn.get() + 1);
    let outcome = if turn.get().is_multiple_of(10) { Outcome::Failure } else { Outcome::Success };
    if let (Ok(permit), _) = black_box(breaker).acquire(|| black_box(SECOND)) {
        black_box(breaker.settle(permit, outcome, || black_box(SECOND)));
    }
}

/// The price of a window by its length: of successes alone, and with one failure in ten; and from two threads.
fn windows(criterion: &mut Criterion) {
    let calls = [10, 100, 1_000, 10_000, 100_000].map(|calls| (format!("{calls} calls"), Window::Calls(calls), 0));
    let time = [("ten buckets".to_owned(), Window::Buckets(SECOND), 0), ("100 calls, slow ones".to_owned(), Window::Calls(100), SECOND)];
    for (name, window, slower_than_ns) in calls.into_iter().chain(time) {
        let mut group = criterion.benchmark_group(format!("window of {name}"));
        let breaker = metered(window, slower_than_ns);
        group.bench_function("successes", |b| b.iter(|| succeed(&breaker)));
        let (breaker, turn) = (metered(window, slower_than_ns), Cell::new(0));
        group.bench_function("one failure in ten", |b| b.iter(|| mixed(&breaker, &turn)));
        for threads in [1, 2] {
            let breaker = metered(window, slower_than_ns);
            group.bench_function(format!("one failure in ten, {threads} threads"), |b| {
                b.iter_custom(|calls| side_by_side(threads, Shards::Apart, calls, || TURN.with(|turn| mixed(&breaker, turn))));
            });
        }
        group.finish();
    }
}
