//! Settlement: what the end of a call comes to. The meters are asked first, then the word that decides.

use super::block::Block;
use super::meter::{Call, Met, UNKNOWN_NS};
use super::permit::{Cause, Change, Outcome, Permit};
use super::plan::{More, Plan};
use super::tick;
use super::time::Time;
use super::transition::Event;

impl Plan {
    /// Say how a call ended. Each permit is settled once; the time is asked for only where the answer depends on it.
    #[inline(always)]
    pub fn settle(&self, block: &Block, permit: Permit, outcome: Outcome, time: impl Time) -> Option<Change> {
        self.settle_asking(block, permit, outcome, time, 0)
    }

    /// As [`settle`](Self::settle), of a call whose service asked not to be called for `least_open_ns`: if the call opens the breaker,
    /// it stays OPEN for so long at least.
    #[inline(always)]
    pub fn settle_asking(&self, block: &Block, permit: Permit, outcome: Outcome, time: impl Time, least_open_ns: u64) -> Option<Change> {
        if let Some(more) = &self.more {
            if outcome == Outcome::Success && permit.is_ordinary() && block.is_calm(permit.admitted_in()) {
                return self.succeed(block, more, permit, time);
            }
            return self.settle_metered(block, more, permit, outcome, time, least_open_ns);
        }
        if outcome == Outcome::Success && block.settle_calm(permit.admitted_in()) {
            return None;
        }
        let now_ns = time.now_ns();
        let until = |_| tick::deadline(now_ns, self.rules.reset_timeout_ns.max(least_open_ns));
        block.settle_elsewhere(&self.rules, permit, outcome, event(outcome), now_ns, until)
    }

    /// Settle what nearly every call is: an ordinary one that succeeds while there is nothing to forgive. Only the meters have a say.
    #[inline(never)]
    fn succeed(&self, block: &Block, more: &More, permit: Permit, time: impl Time) -> Option<Change> {
        let (meters, generation) = (&more.meters, permit.admitted_in());
        let now_ns = if meters.needs_time() { time.coarse_ns() } else { 0 };
        let duration_ns = permit.ordinary_duration_ns(now_ns);
        let met = meters.record(Call { generation, failed: false, duration_ns, now_ns }, || block.is_current(generation));
        if met.is_none() && block.settle_calm(generation) {
            return None;
        }
        self.settle_recorded(block, more, permit, Outcome::Success, time, 0, duration_ns, met)
    }

    #[inline(never)]
    fn settle_metered(
        &self,
        block: &Block,
        more: &More,
        permit: Permit,
        outcome: Outcome,
        time: impl Time,
        least_open_ns: u64,
    ) -> Option<Change> {
        let More { meters, gates, .. } = more;
        let generation = permit.admitted_in();
        let now_ns = if meters.needs_time() { time.coarse_ns() } else { 0 };
        let duration_ns = if meters.measures() { permit.duration_ns(&self.rules, now_ns) } else { UNKNOWN_NS };
        let failed = matches!(outcome, Outcome::Failure | Outcome::Timeout);
        let counts = outcome != Outcome::Ignored && !permit.is_observed() && block.records_in(generation);
        if let Some(gates) = gates {
            gates.leave(permit, self.rules.number.wrapping_sub(permit.plan()));
            if let Some(throttle) = gates.throttle.as_ref().filter(|_| counts && failed) {
                throttle.refuse(generation, time.now_ns(), || block.is_current(generation));
            }
        }
        let mut met = None;
        if counts {
            met = meters.record(Call { generation, failed, duration_ns, now_ns }, || block.is_current(generation));
            if met.is_none() && !failed && block.settle_calm(generation) {
                return None;
            }
            // Of several rules met at once the first one counts.
            met = met.filter(|met| !(failed && met.rule > u32::from(self.rules.trip_rule) && block.is_on_the_brink(&self.rules)));
        }
        self.settle_recorded(block, more, permit, outcome, time, least_open_ns, duration_ns, met)
    }

    /// Settle a call that the meters know of.
    #[cold]
    #[inline(never)]
    #[allow(clippy::too_many_arguments)] // what its callers have come to know
    fn settle_recorded(
        &self,
        block: &Block,
        more: &More,
        permit: Permit,
        outcome: Outcome,
        time: impl Time,
        least_open_ns: u64,
        duration_ns: u64,
        met: Option<Met>,
    ) -> Option<Change> {
        // A probe that was slow is no sign of health, whatever it brought.
        let is_slow = outcome == Outcome::Success && more.meters.is_slow(duration_ns);
        let is_slow_probe = is_slow && permit.is_probe();
        let event = if met.is_some() || is_slow_probe { Some(Event::Trip) } else { event(outcome) };
        let now_ns = time.now_ns();
        let until = |word| self.open_until(word, least_open_ns, now_ns);
        let change = self.remembered(block.settle_elsewhere(&self.rules, permit, outcome, event, now_ns, until))?;
        let change = Change { slow_ns: if is_slow { duration_ns } else { 0 }, ..change };
        Some(match met {
            Some(met) => change.with(Cause::Rule(met)),
            None if is_slow_probe => change.with(Cause::SlowProbe),
            None => change,
        })
    }
}

/// What the end of a call means to the word that decides.
#[inline(always)]
fn event(outcome: Outcome) -> Option<Event> {
    match outcome {
        Outcome::Success => Some(Event::Success),
        Outcome::Failure | Outcome::Timeout => Some(Event::Failure),
        Outcome::Ignored => None,
    }
}
