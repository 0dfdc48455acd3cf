//! The core of a circuit breaker: a state machine in one fixed-size block of atomics.
//!
//! A call travels `Breaker::acquire` → [`Permit`] → `Breaker::settle`. What decides is one packed 64-bit [`word`], moved by one
//! compare-and-swap loop that applies one pure function, [`transition`](transition::transition). Everything else in the
//! [`Block`] is either a probe's [`lease`] or a [`metrics`] counter.
//!
//! Invariants:
//! * No pointer, no lock and no destructor: a block can lie in a mapping that several processes share, and a holder that dies
//!   takes nothing with it (its lease runs out).
//! * Time is an argument, in nanoseconds of any monotonic clock, and is asked for only where it is needed.
//! * A permit settles a breaker only while its generation is the current one; later than that it is counted, and moves nothing.
//!
//! Trade-offs: a generation has 20 bits, so a result that is late by exactly a multiple of 1,048,576 state changes would be
//! taken for a current one. Deadlines are kept in ticks of 100 µs, so that one fits into the word beside the generation.

mod block;
mod lease;
mod metrics;
mod permit;
mod rules;
pub mod tick;
pub mod transition;
pub mod word;

pub use block::{Block, Breaker, Snapshot};
pub use lease::Lease;
pub use metrics::Counters;
pub use permit::{Change, Outcome, Permit, Rejected};
pub use rules::{MAX_PROBES, Rules};
pub use word::{Packed, State, Word};
