//! The core of a circuit breaker: a state machine in one fixed-size block of atomics.
//!
//! A call travels [`Plan::acquire`] → [`Permit`] → [`Plan::settle`]. What decides is one packed 64-bit [`word`], moved by one
//! compare-and-swap loop that applies one pure function, [`transition`](transition::transition). Everything else in the
//! [`Block`] is either a probe's [`lease`] or a [`metrics`] counter. The [`Plan`] is what the configuration comes to; trip rules that
//! look back further keep [`meter`]s in it, and what else a call may have to pass are its [`gates`].
//!
//! Invariants:
//! * No pointer, no lock and no destructor: a block can lie in a mapping that several processes share, and a holder that dies
//!   takes nothing with it (its lease runs out).
//! * Time is an argument, in nanoseconds of any monotonic clock, and is asked for only where it is needed.
//! * A permit settles a breaker only while its generation is the current one; later than that it is counted, and moves nothing.
//!
//! Trade-offs: a generation has 20 bits, so a result that is late by exactly a multiple of 1,048,576 state changes would be
//! taken for a current one. Deadlines are kept in ticks of 100 µs, so that one fits into the word beside the generation.

mod admission;
mod block;
mod bulkhead;
mod gates;
mod lease;
mod meter;
mod metrics;
mod permit;
mod plan;
mod ramp;
mod recovery;
mod rules;
mod settlement;
mod throttle;
pub mod tick;
mod time;
pub mod transition;
mod whole;
pub mod word;

pub use block::{Block, Snapshot};
pub use bulkhead::Bulkhead;
pub use gates::Gates;
pub use lease::Lease;
pub use meter::{MAX_CALLS, Met, MeterRule, Meters, Rate, Window};
pub use metrics::Counters;
pub use permit::{Cause, Change, Outcome, Permit, Rejected};
pub use plan::{More, Plan};
pub use ramp::Ramp;
pub use recovery::{Backoff, Recovery};
pub use rules::{MAX_PROBES, Rules, Score};
pub use throttle::Throttle;
pub use time::Time;
pub use whole::Breaker;
pub use word::{Packed, State, Word};
