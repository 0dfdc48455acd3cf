//! What passes between a breaker and its caller: the permit, its outcome, a rejection, a change of state.

use super::lease::{HeldLease, Lease};
use super::meter::Met;
use super::tick;
use super::word::{Generation, Packed, State};

/// The right to make one call, from admission until it is settled. Plain data: dropping one tells the breaker nothing.
///
/// It carries all that settling needs, so the breaker keeps no list of permits. A copy settled twice would be counted twice:
/// whoever hands permits out (the bindings) settles each once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    // Two words, so that every path writes a permit in the pieces that the next one reads: an `Option` of a lease, or halves of
    // a word, are stored apart and loaded together, and each call waits for the stores to reach the cache.
    // A probe's lease; the instant at which any other call began, where calls are measured, else 0. A lease has the upper bit.
    lease: u64,
    // The slot in the upper half, the generation in the lower.
    place: u64,
}

impl Permit {
    /// The permit of a call that is no probe.
    #[inline(always)]
    pub(super) const fn plain(generation: Generation) -> Self {
        Self { lease: Lease::NONE, place: generation.number() as u64 }
    }

    /// The permit of a call that is no probe and is measured.
    #[inline(always)]
    pub(super) const fn measured(generation: Generation, now_ns: u64) -> Self {
        Self { lease: now_ns & !Lease::TAKEN, place: generation.number() as u64 }
    }

    /// How long the call has taken. A lease of `lease_ns` says when its probe began, to a tick.
    pub(super) fn duration_ns(&self, lease_ns: u64, now_ns: u64) -> u64 {
        let begun_ns = match self.held() {
            Some(held) => (Lease::unpack(held.lease).deadline() * tick::TICK_NS).saturating_sub(lease_ns),
            None => self.lease,
        };
        now_ns.saturating_sub(begun_ns)
    }

    /// The permit of a probe.
    pub(super) const fn probe(generation: Generation, held: HeldLease) -> Self {
        Self { lease: held.lease, place: (held.slot as u64) << 32 | generation.number() as u64 }
    }

    /// The lease of a probe.
    pub(super) fn held(&self) -> Option<HeldLease> {
        (self.lease & Lease::TAKEN != 0).then_some(HeldLease { lease: self.lease, slot: (self.place >> 32) as u32 })
    }

    /// Whether the call is a probe.
    pub(super) fn is_probe(&self) -> bool {
        self.held().is_some()
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)] // the lower half is meant
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
    /// OPEN, or HALF_OPEN with every probe out.
    pub state: State,
    /// Nanoseconds until the next call can be admitted, at the latest; `None`: not before somebody says so.
    pub retry_after_ns: Option<u64>,
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
    /// An operator's command.
    Operator,
}
