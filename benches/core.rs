//! The core alone: what one call costs, from one thread and from two.
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use switchgear::{Breaker, Outcome, Rules};

fn bench(c: &mut Criterion) {
    let breaker = Breaker::new(Rules::new(5, 2, 60_000_000_000));
    c.bench_function("acquire + success", |b| {
        b.iter(|| {
            let permit = black_box(&breaker).acquire(|| 0).0.unwrap();
            breaker.settle(permit, Outcome::Success, || 0)
        });
    });
}
criterion_group!(benches, bench);
criterion_main!(benches);
