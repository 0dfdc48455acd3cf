//! What passes between a breaker and its caller: the permit, its outcome, a rejection, a change of state.

use super::lease::{HeldLease, Lease};
use super::meter::{Met, UNKNOWN_NS};
use super::rules::Rules;
use super::tick;
use super::word::{Generation, Packed, State};

/// The right to make one call, from admission until it is settled. Plain data: dropping one tells the breaker nothing.
///
/// It carries all that settling needs, so the breaker keeps no list of permits. A copy settled twice would be counted twice:
/// whoever hands permits out (the bindings) settles each once.
///
/// ```text
///  63            40 39     32 31    24 23   20 19            0
/// ┌────────────────┬─────────┬────────┬───────┬───────────────┐
/// │ place in the   │ probe's │ plan's │ kinds │  generation   │   the second word, `place`
/// │    bulkhead    │  slot   │ number │       │               │
/// └────────────────┴─────────┴────────┴───────┴───────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    // Two words, so that every path writes a permit in the pieces that the next one reads: an `Option` of a lease, or halves of
    // a word, are stored apart and loaded together, and each call waits for the stores to reach the cache.
    // The lease of a call that holds a slot; else the instant at which it began, where calls are measured; else 0.
    lease: u64,
    place: u64,
}

/// The call moves nothing: it would have been rejected, had the breaker not been told only to observe.
const OBSERVED: u64 = 1 << 20;
/// `lease` is the instant at which the call began.
const MEASURED: u64 = 1 << 21;
/// The call is a probe, in the slot of that number.
const PROBE: u64 = 1 << 22;
/// The call has a place in the bulkhead.
const PLACED: u64 = 1 << 23;
const PLAN: u32 = 24;
const SLOT: u32 = 32;
const BULKHEAD: u32 = 40;

impl Permit {
    /// The permit of a call that is no probe.
    #[inline(always)]
    pub(super) const fn plain(generation: Generation) -> Self {
        Self { lease: Lease::NONE, place: generation.number() as u64 }
    }

    /// The permit of a call that is no probe and is measured.
    #[inline(always)]
    pub(super) const fn measured(generation: Generation, now_ns: u64) -> Self {
        Self { lease: now_ns, place: generation.number() as u64 | MEASURED }
    }

    /// The permit of a call that nobody would have had without being told to observe only.
    pub(super) const fn observed(generation: Generation) -> Self {
        Self { lease: Lease::NONE, place: generation.number() as u64 | OBSERVED }
    }

    /// The permit of a probe.
    pub(super) const fn probe(generation: Generation, held: HeldLease) -> Self {
        Self { lease: held.lease, place: (held.slot as u64) << SLOT | generation.number() as u64 | PROBE }
    }

    /// The same permit, given by the plan of this number.
    #[inline(always)]
    pub(super) const fn by(self, plan: u8) -> Self {
        Self { place: self.place | (plan as u64) << PLAN, ..self }
    }

    /// The number of the plan that gave it.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)] // the eight bits that are meant
    pub(super) const fn plan(self) -> u8 {
        (self.place >> PLAN) as u8
    }

    /// The same permit, with a place in the bulkhead. A probe's is leased as its slot is: one lease is all that a permit carries.
    pub(super) const fn placed(self, held: HeldLease) -> Self {
        Self { lease: held.lease, place: (self.place | PLACED | (held.slot as u64) << BULKHEAD) & !MEASURED }
    }

    /// How long the call has taken, which a lease of these rules tells to a tick; [`UNKNOWN_NS`] where nobody measured when it began, or
    /// where it was admitted by other rules, whose leases are longer or shorter.
    pub(super) fn duration_ns(&self, rules: &Rules, now_ns: u64) -> u64 {
        if self.place & MEASURED != 0 {
            return now_ns.saturating_sub(self.lease);
        }
        if self.lease == Lease::NONE || self.plan() != rules.number {
            return UNKNOWN_NS;
        }
        let lease_ns = if self.is_probe() { rules.lease_ns } else { rules.place_ns() };
        now_ns.saturating_sub((Lease::unpack(self.lease).deadline() * tick::TICK_NS).saturating_sub(lease_ns))
    }

    /// Whether the call holds nothing that it has to give back, and counts.
    #[inline(always)]
    pub(super) fn is_ordinary(self) -> bool {
        self.place & (OBSERVED | PROBE | PLACED) == 0
    }

    /// How long an ordinary call has taken; [`UNKNOWN_NS`] where nobody measured when it began.
    #[inline(always)]
    pub(super) fn ordinary_duration_ns(self, now_ns: u64) -> u64 {
        if self.place & MEASURED != 0 { now_ns.saturating_sub(self.lease) } else { UNKNOWN_NS }
    }

    /// The lease of a probe.
    pub(super) fn held(&self) -> Option<HeldLease> {
        self.is_probe().then_some(HeldLease { lease: self.lease, slot: (self.place >> SLOT & 0xFF) as u32 })
    }

    /// The lease of a place in the bulkhead.
    pub(super) fn place_held(&self) -> Option<HeldLease> {
        (self.place & PLACED != 0).then_some(HeldLease { lease: self.lease, slot: (self.place >> BULKHEAD) as u32 })
    }

    /// Whether the call is a probe.
    pub(super) fn is_probe(&self) -> bool {
        self.place & PROBE != 0
    }

    /// Whether the call moves nothing.
    pub(super) fn is_observed(&self) -> bool {
        self.place & OBSERVED != 0
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)] // Generation::new keeps the 20 bits that are meant
    pub(super) const fn admitted_in(&self) -> Generation {
        Generation::new(self.place as u32)
    }

    /// The generation that the call was admitted in.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.admitted_in().number()
    }
}

/// How a permit settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The dependency answered.
    Success,
    /// It did not, or not well.
    Failure,
    /// It did not within the breaker's own timeout: a failure that is also counted as a timeout.
    Timeout,
    /// The call was abandoned: it says nothing about the dependency.
    Ignored,
}

/// Why a call was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The state that rejected; CLOSED where the bulkhead or the throttle did.
    pub state: State,
    /// Nanoseconds until the next call can be admitted, at the latest; `None`: not before somebody says so.
    pub retry_after_ns: Option<u64>,
    /// The places of the bulkhead that was full, whatever the state; 0: it was not that.
    pub full: u32,
}

impl Rejected {
    /// Rejected by chance: the next call may be luckier.
    pub(super) const fn by_chance(state: State) -> Self {
        Self { state, retry_after_ns: Some(0), full: 0 }
    }
}

/// A change of state, told to whoever made it, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The state before.
    pub from: State,
    /// The state now.
    pub to: State,
    /// The generation that began.
    pub generation: u32,
    /// When, on the breaker's clock.
    pub now_ns: u64,
    /// Nanoseconds until the first probe, where the breaker opened and an end is set.
    pub retry_after_ns: Option<u64>,
    /// Why.
    pub cause: Cause,
    /// How long the call took that made the change, where it succeeded and was slow; else 0.
    pub slow_ns: u64,
}

impl Change {
    /// The same change, for this reason.
    #[must_use]
    pub fn with(self, cause: Cause) -> Self {
        Self { cause, ..self }
    }
}

/// Why a state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A trip rule was met.
    Rule(Met),
    /// The machine's own way back, or a probe that failed on it.
    Recovery,
    /// A probe that succeeded, and took too long for it.
    SlowProbe,
    /// HALF_OPEN that waited for its verdicts long enough.
    NoVerdict,
    /// A ramp that came to its end.
    Ramp,
    /// An operator's command.
    Operator,
}
