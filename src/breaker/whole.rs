//! The whole breaker: a block, the rules it plays by, and the meters of the rules that need some.

use super::block::Block;
use super::meter::{Call, Meters};
use super::permit::{Cause, Change, Outcome, Permit, Rejected};
use super::rules::Rules;
use super::time::Time;
use super::transition::Event;

/// A circuit breaker.
#[derive(Debug)]
pub struct Breaker {
    rules: Rules,
    /// Absent where the word that decides is all that the rules need, which is the usual case.
    meters: Option<Box<Meters>>,
    block: Block,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, meters: None, block: Block::default() }
    }

    /// A closed breaker that its meters trip, too.
    #[must_use]
    pub fn with_meters(rules: Rules, meters: Meters) -> Self {
        Self { rules, meters: Some(Box::new(meters)), block: Block::default() }
    }

    /// Ask to make a call. The time is asked for only where the answer depends on it, or calls are measured.
    ///
    /// # Errors
    /// [`Rejected`], with the state that rejected and the time until it makes sense to ask again.
    #[inline(always)]
    pub fn acquire(&self, time: impl Time) -> (Result<Permit, Rejected>, Option<Change>) {
        match self.pass(time) {
            Some(permit) => (Ok(permit), None),
            None => self.block.acquire_probe(&self.rules, time.now_ns()),
        }
    }

    /// The permit of a call that the state lets pass unasked: the first half of [`acquire`](Self::acquire), and nearly always all
    /// of it. It is a load and a comparison.
    #[inline(always)]
    pub fn pass(&self, time: impl Time) -> Option<Permit> {
        let generation = self.block.passing()?;
        Some(match &self.meters {
            Some(meters) if meters.measures() => Permit::measured(generation, time.coarse_ns()),
            _ => Permit::plain(generation),
        })
    }

    /// Say how a call ended. Each permit is settled once; the time is asked for only where the answer depends on it.
    #[inline(always)]
    pub fn settle(&self, permit: Permit, outcome: Outcome, time: impl Time) -> Option<Change> {
        if let Some(meters) = &self.meters {
            return self.settle_metered(meters, permit, outcome, time);
        }
        if outcome == Outcome::Success && self.block.settle_calm(permit.admitted_in()) {
            return None;
        }
        self.block.settle_elsewhere(&self.rules, permit, outcome, event(outcome), time.now_ns())
    }

    #[inline(never)]
    fn settle_metered(&self, meters: &Meters, permit: Permit, outcome: Outcome, time: impl Time) -> Option<Change> {
        let generation = permit.admitted_in();
        let now_ns = if meters.needs_time() { time.coarse_ns() } else { 0 };
        let duration_ns = if meters.measures() { permit.duration_ns(self.rules.lease_ns, now_ns) } else { 0 };
        let failed = matches!(outcome, Outcome::Failure | Outcome::Timeout);
        let mut met = None;
        if outcome != Outcome::Ignored && self.block.is_closed_in(generation) {
            let call = Call { generation, failed, duration_ns, now_ns };
            met = meters.record(call, || self.block.is_current(generation));
            if met.is_none() && !failed && self.block.settle_calm(generation) {
                return None;
            }
            // Of several rules met at once the first one counts.
            met = met.filter(|met| !(failed && met.rule > self.rules.trip_rule && self.block.is_on_the_brink(&self.rules)));
        }
        // A probe that was slow is no sign of health, whatever it brought.
        let is_slow_probe = outcome == Outcome::Success && permit.is_probe() && meters.is_slow(duration_ns);
        let event = if met.is_some() || is_slow_probe { Some(Event::Trip) } else { event(outcome) };
        let change = self.block.settle_elsewhere(&self.rules, permit, outcome, event, time.now_ns())?;
        Some(met.map_or(change, |met| change.with(Cause::Rule(met))))
    }

    /// Move the state by hand: one of the operator's events.
    pub fn command(&self, event: Event, now_ns: u64) -> Option<Change> {
        self.block.command(&self.rules, event, now_ns)
    }

    /// The mutable part, for reading.
    #[must_use]
    pub fn block(&self) -> &Block {
        &self.block
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
