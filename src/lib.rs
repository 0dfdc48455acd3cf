//! Circuit breakers: a lock-free core, and the bindings that put Python on top of it.
//!
//! * [`breaker`]: the core. It knows no Python, no clock and no callables; it runs, is tested and is measured without them.
//! * [`sync`]: the only door to atomics, so that the same core runs under the loom model checker.
//! * `python`: the bindings, behind the feature of the same name. They convert and drive; they decide nothing.
#![cfg_attr(not(feature = "python"), forbid(unsafe_code))]

pub mod breaker;
#[cfg(feature = "python")]
mod python;
pub mod sync;

pub use breaker::{Block, Breaker, Cause, Change, Counters, Meters, Outcome, Permit, Rejected, Rules, Snapshot, State};
