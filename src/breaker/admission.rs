//! Admission: what a call has to pass, and in which order. The state comes first, then the gates.

use super::block::{Answer, Block};
use super::gates::Gates;
use super::permit::{Cause, Change, Permit, Rejected};
use super::plan::{More, Plan};
use super::ramp::Lot;
use super::tick;
use super::time::Time;
use super::transition::Event;
use super::word::{State, Word};

impl Plan {
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
}
