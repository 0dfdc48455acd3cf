//! The plan: the rules that a breaker plays by, and what only some rules need. It decides about a block that is handed in.
//!
//! A plan can be replaced while calls are on their way: a permit names the plan that gave it, and settles by the one that is there then.

use super::block::{Answer, Block};
use super::gates::Gates;
use super::meter::{Call, Met, Meters};
use super::permit::{Cause, Change, Outcome, Permit, Rejected};
use super::ramp::Lot;
use super::recovery::Recovery;
use super::rules::Rules;
use super::tick;
use super::time::Time;
use super::transition::Event;
use super::word::{Generation, State, Word};

/// What a configuration comes to.
#[derive(Debug)]
pub struct Plan {
    rules: Rules,
    /// Absent where the word that decides is all that the rules need, which is the usual case.
    more: Option<Box<More>>,
}

/// What only some rules need.
#[derive(Debug, Default)]
pub struct More {
    /// Rules that look back further than the word does.
    pub meters: Meters,
    /// Growing open times, and a limit to waiting for verdicts.
    pub recovery: Recovery,
    /// What a call passes beside the state; `None`: nothing.
    pub gates: Option<Box<Gates>>,
}

impl Plan {
    /// The plan of rules that need nothing more.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, more: None }
    }

    /// The plan of rules that need more.
    #[must_use]
    pub fn with(rules: Rules, more: More) -> Self {
        let rules = Rules { ramps: more.gates.as_ref().is_some_and(|gates| gates.ramp.is_some()), ..rules };
        Self { rules, more: Some(Box::new(more)) }
    }

    /// The same plan, to replace `old`, which the breaker of `block` played by. It goes on where the old one is: with the attempts to
    /// recover, the ramp and what is taken of the bulkhead. Windows begin empty, and a level that meant something else begins at 0.
    #[must_use]
    pub fn in_place_of(mut self, old: &Self, block: &Block, now_ns: u64) -> Self {
        if let (Some(mine), Some(theirs)) = (&mut self.more, &old.more) {
            mine.recovery.inherit(&theirs.recovery);
            if let (Some(mine), Some(theirs)) = (&mut mine.gates, &theirs.gates) {
                mine.inherit(theirs);
            }
        }
        if self.rules.trip != old.rules.trip {
            block.command(&self.rules, None, Event::NewScore, now_ns, |_| tick::NEVER);
        }
        let rules = Rules { number: old.rules.number.wrapping_add(1), ..self.rules };
        Self { rules, ..self }
    }

    /// Ask to make a call. The time is asked for only where the answer depends on it, or calls are measured.
    ///
    /// # Errors
    /// [`Rejected`], with the state that rejected and the time until it makes sense to ask again.
    #[inline(always)]
    pub fn acquire(&self, block: &Block, time: impl Time) -> (Result<Permit, Rejected>, Option<Change>) {
        match self.pass(block, time) {
            Some(permit) => (Ok(permit), None),
            None => self.ask(block, time.now_ns()),
        }
    }

    /// The permit of a call that the state lets pass unasked: the first half of [`acquire`](Self::acquire), and nearly always all
    /// of it. It is a load and a comparison.
    #[inline(always)]
    pub fn pass(&self, block: &Block, time: impl Time) -> Option<Permit> {
        let generation = block.passing()?;
        match &self.more {
            Some(more) if more.gates.as_ref().is_some_and(|gates| gates.stop_any()) => None,
            Some(more) if more.meters.measures() => Some(Permit::measured(generation, time.coarse_ns())),
            _ => Some(Permit::plain(generation)),
        }
    }

    #[cold]
    fn ask(&self, block: &Block, now_ns: u64) -> (Result<Permit, Rejected>, Option<Change>) {
        let Some(more) = &self.more else { return self.ask_the_state(block, now_ns) };
        let mut change = self.expire(block, more, now_ns);
        let answer = loop {
            let (answer, changed) = block.ask(&self.rules, now_ns);
            // At most one of all: an open time that begins now is not over now, and no ramp that begins now is.
            change = change.or(self.remembered(changed));
            let gates = more.gates.as_deref();
            match (answer, gates) {
                (Answer::Passes(word), _) => match Gates::lot(gates, word, now_ns, || block.is_current(word.generation)) {
                    Lot::Passes => break self.through(gates, block, word, now_ns),
                    Lot::Waits => break Err(Rejected::by_chance(word.state)),
                    Lot::Over => change = change.or(self.remembered(self.end_ramp(block, word, now_ns))),
                },
                (Answer::Probe(permit, held), Some(gates)) => {
                    let placed = gates.place(permit, State::HalfOpen, self.rules.place_ns(), now_ns);
                    break placed.inspect_err(|_| block.give_back(held));
                }
                (answer, _) => break answer.plain(),
            }
        };
        let observes = more.gates.as_ref().is_some_and(|gates| gates.observes);
        (Self::counted(block, answer, observes).map(|permit| permit.by(self.rules.number)), change)
    }

    /// As [`ask`](Self::ask), where nothing but the state has a say.
    fn ask_the_state(&self, block: &Block, now_ns: u64) -> (Result<Permit, Rejected>, Option<Change>) {
        let mut change = None;
        loop {
            let (answer, changed) = block.ask(&self.rules, now_ns);
            change = change.or(changed);
            match answer {
                // One that this plan knows nothing of.
                Answer::Passes(word) if word.is_ramp() => change = change.or(self.end_ramp(block, word, now_ns)),
                answer => return (Self::counted(block, answer.plain(), false), change),
            }
        }
    }

    fn end_ramp(&self, block: &Block, word: Word, now_ns: u64) -> Option<Change> {
        block.command(&self.rules, Some(word.generation), Event::RampOver, now_ns, |_| tick::NEVER)
    }

    /// Through the gates that are beside the state. DISABLED has none.
    fn through(&self, gates: Option<&Gates>, block: &Block, word: Word, now_ns: u64) -> Result<Permit, Rejected> {
        let plain = Ok(Permit::plain(word.generation));
        let Some(gates) = gates else { return self.measured(plain, now_ns) };
        if word.state == State::Disabled {
            return plain;
        }
        let permit = gates.place(self.measured(plain, now_ns)?, word.state, self.rules.place_ns(), now_ns)?;
        if word.state == State::Closed { gates.throttled(permit, now_ns, || block.is_current(word.generation)) } else { Ok(permit) }
    }

    /// A call that is no probe is measured, where calls are.
    fn measured(&self, answer: Result<Permit, Rejected>, now_ns: u64) -> Result<Permit, Rejected> {
        match &self.more {
            Some(more) if more.meters.measures() => {
                answer.map(|permit| if permit.is_probe() { permit } else { Permit::measured(permit.admitted_in(), now_ns) })
            }
            _ => answer,
        }
    }

    /// Count what was rejected, or would have been.
    fn counted(block: &Block, answer: Result<Permit, Rejected>, observes: bool) -> Result<Permit, Rejected> {
        match answer {
            Err(_) if observes => {
                block.count_observed();
                Ok(Permit::observed(block.now().generation))
            }
            Err(rejected) => {
                block.count_rejection();
                Err(rejected)
            }
            admitted => admitted,
        }
    }

    /// End HALF_OPEN if it has waited for its verdicts long enough.
    fn expire(&self, block: &Block, more: &More, now_ns: u64) -> Option<Change> {
        let word = block.now();
        if !more.recovery.is_over(word, now_ns) {
            return None;
        }
        let until = |word| self.open_until(word, 0, now_ns);
        let change = block.command(&self.rules, Some(word.generation), Event::Trip, now_ns, until);
        self.remembered(change.map(|change| change.with(Cause::NoVerdict)))
    }

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
        let duration_ns = if meters.measures() { permit.duration_ns(&self.rules, now_ns) } else { 0 };
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

    /// Whether a failure that comes now may open: then its caller has reason to find out what the service asked for.
    #[must_use]
    pub fn may_open(&self, block: &Block) -> bool {
        self.more.is_some() || block.is_on_the_brink(&self.rules)
    }

    /// Move the state by hand: one of the operator's events.
    pub fn command(&self, block: &Block, event: Event, now_ns: u64) -> Option<Change> {
        let change = self.remembered(block.command(&self.rules, None, event, now_ns, |_| tick::NEVER));
        if let Some(more) = &self.more
            && event == Event::Reset
        {
            more.recovery.forget();
        }
        change
    }

    /// Open by hand, for `open_ns`.
    pub fn force_open_for(&self, block: &Block, open_ns: u64, now_ns: u64) -> Option<Change> {
        let until = tick::deadline(now_ns, open_ns);
        self.remembered(block.command(&self.rules, None, Event::ForceOpen, now_ns, |_| until))
    }

    /// The part of the calls that a ramp lets pass now, where there is one.
    #[must_use]
    pub fn ramp_part(&self, block: &Block, now_ns: u64) -> Option<f64> {
        let word = block.now();
        let ramp = self.more.as_ref()?.gates.as_ref()?.ramp.as_ref()?;
        word.is_ramp().then(|| ramp.part(word, now_ns))
    }

    /// The part that chance added to the open time that a change began, or took; `None`: chance had no say.
    #[must_use]
    pub fn jitter(&self, change: Change) -> Option<f64> {
        let is_timed = change.to == State::Open && change.cause != Cause::Operator;
        is_timed.then(|| self.more.as_ref()?.recovery.jitter(Generation::new(change.generation))).flatten()
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
