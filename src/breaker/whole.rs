//! The whole breaker: a block, the rules it plays by, and what only some rules need.

use super::block::Block;
use super::meter::{Call, Meters};
use super::permit::{Cause, Change, Outcome, Permit, Rejected};
use super::recovery::Recovery;
use super::rules::Rules;
use super::tick;
use super::time::Time;
use super::transition::Event;
use super::word::{State, Word};

/// A circuit breaker.
#[derive(Debug)]
pub struct Breaker {
    rules: Rules,
    /// Absent where the word that decides is all that the rules need, which is the usual case.
    more: Option<Box<More>>,
    block: Block,
}

/// What only some rules need.
#[derive(Debug)]
struct More {
    meters: Meters,
    recovery: Recovery,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, more: None, block: Block::default() }
    }

    /// A closed breaker that its meters trip, too.
    #[must_use]
    pub fn with_meters(rules: Rules, meters: Meters) -> Self {
        Self::with(rules, meters, Recovery::new(None, None))
    }

    /// A closed breaker with meters and recovery rules.
    #[must_use]
    pub fn with(rules: Rules, meters: Meters, recovery: Recovery) -> Self {
        Self { rules, more: Some(Box::new(More { meters, recovery })), block: Block::default() }
    }

    /// Ask to make a call. The time is asked for only where the answer depends on it, or calls are measured.
    ///
    /// # Errors
    /// [`Rejected`], with the state that rejected and the time until it makes sense to ask again.
    #[inline(always)]
    pub fn acquire(&self, time: impl Time) -> (Result<Permit, Rejected>, Option<Change>) {
        match self.pass(time) {
            Some(permit) => (Ok(permit), None),
            None => self.acquire_probe(time.now_ns()),
        }
    }

    /// The permit of a call that the state lets pass unasked: the first half of [`acquire`](Self::acquire), and nearly always all
    /// of it. It is a load and a comparison.
    #[inline(always)]
    pub fn pass(&self, time: impl Time) -> Option<Permit> {
        let generation = self.block.passing()?;
        Some(match &self.more {
            Some(more) if more.meters.measures() => Permit::measured(generation, time.coarse_ns()),
            _ => Permit::plain(generation),
        })
    }

    fn acquire_probe(&self, now_ns: u64) -> (Result<Permit, Rejected>, Option<Change>) {
        let Some(more) = &self.more else { return self.block.acquire_probe(&self.rules, now_ns) };
        let word = self.block.now();
        let mut expired = None;
        if more.recovery.is_over(word, now_ns) {
            let until = |word| self.open_until(word, 0, now_ns);
            let change = self.block.command(&self.rules, Some(word.generation), Event::Trip, now_ns, until);
            expired = self.remembered(change.map(|change| change.with(Cause::NoVerdict)));
        }
        let (answer, change) = self.block.acquire_probe(&self.rules, now_ns);
        // Closed meanwhile: then the call is no probe, and measured like any other.
        let measured = |permit: Permit| if permit.is_probe() { permit } else { Permit::measured(permit.admitted_in(), now_ns) };
        let answer = if more.meters.measures() { answer.map(measured) } else { answer };
        // At most one of the two: an open time that begins now is not over now.
        (answer, expired.or(self.remembered(change)))
    }

    /// Say how a call ended. Each permit is settled once; the time is asked for only where the answer depends on it.
    #[inline(always)]
    pub fn settle(&self, permit: Permit, outcome: Outcome, time: impl Time) -> Option<Change> {
        self.settle_asking(permit, outcome, time, 0)
    }

    /// As [`settle`](Self::settle), of a call whose service asked not to be called for `least_open_ns`: if the call opens the breaker,
    /// it stays OPEN for so long at least.
    #[inline(always)]
    pub fn settle_asking(&self, permit: Permit, outcome: Outcome, time: impl Time, least_open_ns: u64) -> Option<Change> {
        if let Some(more) = &self.more {
            return self.settle_metered(&more.meters, permit, outcome, time, least_open_ns);
        }
        if outcome == Outcome::Success && self.block.settle_calm(permit.admitted_in()) {
            return None;
        }
        let now_ns = time.now_ns();
        let until = |_| tick::deadline(now_ns, self.rules.reset_timeout_ns.max(least_open_ns));
        self.block.settle_elsewhere(&self.rules, permit, outcome, event(outcome), now_ns, until)
    }

    #[inline(never)]
    fn settle_metered(&self, meters: &Meters, permit: Permit, outcome: Outcome, time: impl Time, least_open_ns: u64) -> Option<Change> {
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
        let is_slow = outcome == Outcome::Success && meters.is_slow(duration_ns);
        let is_slow_probe = is_slow && permit.is_probe();
        let event = if met.is_some() || is_slow_probe { Some(Event::Trip) } else { event(outcome) };
        let now_ns = time.now_ns();
        let until = |word| self.open_until(word, least_open_ns, now_ns);
        let change = self.remembered(self.block.settle_elsewhere(&self.rules, permit, outcome, event, now_ns, until))?;
        let change = Change { slow_ns: if is_slow { duration_ns } else { 0 }, ..change };
        Some(match met {
            Some(met) => change.with(Cause::Rule(met)),
            None if is_slow_probe => change.with(Cause::SlowProbe),
            None => change,
        })
    }

    /// Whether a failure that comes now may open: then its caller has reason to find out what the service asked for.
    #[must_use]
    pub fn may_open(&self) -> bool {
        self.more.is_some() || self.block.is_on_the_brink(&self.rules)
    }

    /// Move the state by hand: one of the operator's events.
    pub fn command(&self, event: Event, now_ns: u64) -> Option<Change> {
        let change = self.remembered(self.block.command(&self.rules, None, event, now_ns, |_| tick::NEVER));
        if let Some(more) = &self.more
            && event == Event::Reset
        {
            more.recovery.forget();
        }
        change
    }

    /// Open by hand, for `open_ns`.
    pub fn force_open_for(&self, open_ns: u64, now_ns: u64) -> Option<Change> {
        let until = tick::deadline(now_ns, open_ns);
        self.remembered(self.block.command(&self.rules, None, Event::ForceOpen, now_ns, |_| until))
    }

    /// Until when `word` is to stay OPEN if it opens now.
    fn open_until(&self, word: Word, least_open_ns: u64, now_ns: u64) -> u64 {
        let reset_timeout_ns = self.rules.reset_timeout_ns;
        let open_ns = match &self.more {
            Some(more) => more.recovery.open_ns(word, reset_timeout_ns, now_ns),
            None => reset_timeout_ns,
        };
        tick::deadline(now_ns, open_ns.max(least_open_ns))
    }

    fn remembered(&self, change: Option<Change>) -> Option<Change> {
        if let (Some(more), Some(change)) = (&self.more, change)
            // What an operator opens says nothing of the service.
            && !(change.to == State::Open && change.cause == Cause::Operator)
        {
            more.recovery.remember(change, self.rules.reset_timeout_ns);
        }
        change
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
