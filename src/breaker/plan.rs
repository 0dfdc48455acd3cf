//! The plan: the rules that a breaker plays by, and what only some rules need. It decides about a block that is handed in: who is let in,
//! in `admission`; what the end of a call comes to, in `settlement`; and here what nobody's call brings.
//!
//! A plan can be replaced while calls are on their way: a permit names the plan that gave it, and settles by the one that is there then.

use super::block::Block;
use super::gates::Gates;
use super::meter::Meters;
use super::permit::{Cause, Change};
use super::recovery::Recovery;
use super::rules::Rules;
use super::tick;
use super::transition::Event;
use super::word::{Generation, State, Word};

/// What a configuration comes to.
#[derive(Debug)]
pub struct Plan {
    pub(super) rules: Rules,
    /// Absent where the word that decides is all that the rules need, which is the usual case.
    pub(super) more: Option<Box<More>>,
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
        // Another number where what a permit has from the old plan means nothing to this one: its lease's length, or its place.
        let is_another = self.rules.lease_ns != old.rules.lease_ns || self.has_bulkhead() != old.has_bulkhead();
        let steps = u8::from(is_another);
        if let (Some(mine), Some(theirs)) = (&mut self.more, &old.more) {
            mine.recovery.inherit(&theirs.recovery);
            if let (Some(mine), Some(theirs)) = (&mut mine.gates, &theirs.gates) {
                mine.inherit(theirs, steps);
            }
        }
        if let Some(more) = &self.more {
            more.recovery.wait_from(block.now(), now_ns);
        }
        if self.rules.trip != old.rules.trip {
            block.command(&self.rules, None, Event::NewScore, now_ns, |_| tick::NEVER);
        }
        let rules = Rules { number: old.rules.number.wrapping_add(steps), ..self.rules };
        Self { rules, ..self }
    }

    fn has_bulkhead(&self) -> bool {
        self.more.as_ref().and_then(|more| more.gates.as_ref()).is_some_and(|gates| gates.bulkhead.is_some())
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
    pub(super) fn open_until(&self, word: Word, least_open_ns: u64, now_ns: u64) -> u64 {
        let reset_timeout_ns = self.rules.reset_timeout_ns;
        let open_ns = match &self.more {
            Some(more) => more.recovery.open_ns(word, reset_timeout_ns, now_ns),
            None => reset_timeout_ns,
        };
        tick::deadline(now_ns, open_ns.max(least_open_ns))
    }

    pub(super) fn remembered(&self, change: Option<Change>) -> Option<Change> {
        if let (Some(more), Some(change)) = (&self.more, change)
            // What an operator opens says nothing of the service.
            && !(change.to == State::Open && change.cause == Cause::Operator)
        {
            more.recovery.remember(change, self.rules.reset_timeout_ns);
        }
        change
    }
}
