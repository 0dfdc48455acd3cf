//! The core under the loom model checker: every interleaving, and every value that a weak memory model may show, of two or
//! three threads on the real [`Breaker`](switchgear::Breaker).
//!
//! Empty without `--cfg loom`:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test --release --test loom
//! ```
//!
//! `LOOM_MAX_PREEMPTIONS` widens or narrows the search; see `loom/setup.rs`.
#![cfg(loom)]

#[path = "loom/setup.rs"]
mod setup;

#[path = "loom/close.rs"]
mod close;
#[path = "loom/gates.rs"]
mod gates;
#[path = "loom/leases.rs"]
mod leases;
#[path = "loom/meters.rs"]
mod meters;
#[path = "loom/metrics.rs"]
mod metrics;
#[path = "loom/operator.rs"]
mod operator;
#[path = "loom/probes.rs"]
mod probes;
#[path = "loom/story.rs"]
mod story;
#[path = "loom/trip.rs"]
mod trip;
#[path = "loom/wrong.rs"]
mod wrong;
#[path = "loom/wrong_gates.rs"]
mod wrong_gates;
#[path = "loom/wrong_meters.rs"]
mod wrong_meters;
