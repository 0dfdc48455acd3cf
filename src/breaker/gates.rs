//! The gates that a call passes beside the state: what a breaker has only if it was told so.

use super::bulkhead::Bulkhead;
use super::lease::Lease;
use super::permit::{Permit, Rejected};
use super::ramp::{Lot, Ramp};
use super::throttle::Throttle;
use super::tick;
use super::word::{Packed, State, Word};

/// Each absent by default.
#[derive(Debug, Default)]
pub struct Gates {
    /// What HALF_OPEN does after its probes.
    pub ramp: Option<Ramp>,
    /// A limit to the calls in flight.
    pub bulkhead: Option<Bulkhead>,
    /// Rejections by chance, in CLOSED.
    pub throttle: Option<Throttle>,
    /// Nothing is rejected: what would have been is counted, and moves nothing.
    pub observes: bool,
}

impl Gates {
    /// Whether they may stop a call that the state lets pass.
    #[inline(always)]
    pub(super) fn stop_any(&self) -> bool {
        self.bulkhead.is_some() || self.throttle.is_some()
    }

    /// What the ramp of `gates`, if there is one, says to a call that found `word`.
    pub(super) fn lot(gates: Option<&Self>, word: Word, now_ns: u64, is_current: impl Fn() -> bool) -> Lot {
        match gates.and_then(|gates| gates.ramp.as_ref()) {
            _ if !word.is_ramp() => Lot::Passes,
            Some(ramp) => ramp.ask(word, now_ns, is_current),
            // The ramp that the probes began was taken out of the configuration.
            None => Lot::Over,
        }
    }

    /// Give `permit` its place in the bulkhead, leased for `lease_ns` where it has no lease yet.
    pub(super) fn place(&self, permit: Permit, state: State, lease_ns: u64, now_ns: u64) -> Result<Permit, Rejected> {
        let Some(bulkhead) = &self.bulkhead else { return Ok(permit) };
        let lease = match permit.held() {
            Some(held) => held.lease,
            None => Lease::new(permit.admitted_in(), tick::deadline(now_ns, lease_ns)).pack(),
        };
        let full = Rejected { state, retry_after_ns: Some(0), full: bulkhead.limit() };
        let held = bulkhead.take(lease, now_ns).ok_or(full)?;
        Ok(permit.placed(held))
    }

    /// Ask the throttle, if there is one, which gives back the place of a call that it rejects.
    pub(super) fn throttled(&self, permit: Permit, now_ns: u64, is_current: impl Fn() -> bool) -> Result<Permit, Rejected> {
        match &self.throttle {
            Some(throttle) if !throttle.passes(permit.admitted_in(), now_ns, is_current) => {
                self.leave(permit, 0);
                Err(Rejected::by_chance(State::Closed))
            }
            _ => Ok(permit),
        }
    }

    /// Give back what a call holds of the bulkhead, which it was given so many numbers of plans ago.
    #[inline(always)]
    pub(super) fn leave(&self, permit: Permit, numbers: u8) {
        if let (Some(bulkhead), Some(held)) = (&self.bulkhead, permit.place_held()) {
            bulkhead.give_back(held, numbers);
        }
    }

    /// Go on where the gates of another plan are, whose number is so many less.
    pub(super) fn inherit(&mut self, old: &Self, steps: u8) {
        if let (Some(mine), Some(theirs)) = (&mut self.bulkhead, &old.bulkhead) {
            mine.inherit(theirs, steps);
        }
        if let (Some(mine), Some(theirs)) = (&self.ramp, &old.ramp) {
            mine.inherit(theirs);
        }
    }
}
