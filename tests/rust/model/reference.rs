//! The rules of a breaker as one would tell them: a state, lists, plain numbers, no packing, no atomics, no slots.
//!
//! Written from the rules and not from the core, so that a misunderstanding would have to be had twice.

use switchgear::breaker::transition::Event;
use switchgear::{Counters, Outcome, Rejected, Rules, Snapshot, State};

/// A change of state: from, to, the generation's number, and the time until the first probe.
pub type Told = (State, State, u64, Option<u64>);

/// What a caller holds: the generation that admitted it, and a number of its own.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    pub generation: u64,
    id: u64,
}

#[derive(Debug)]
pub struct Reference {
    rules: Rules,
    state: State,
    generation: u64,
    /// Consecutive failures in CLOSED, successful probes in HALF_OPEN.
    count: u64,
    /// When the first probe may go; `None`: never.
    reopens: Option<u64>,
    opened: u64,
    /// Probes that are out, and when each loses its slot.
    probes: Vec<(u64, u64)>,
    tickets: u64,
    /// Since when the present spell counts, and what the spells before it came to.
    counted_from: u64,
    booked: u64,
    times_opened: u64,
    times_half_opened: u64,
    counters: Counters,
}

/// Deadlines fall on whole tenths of a millisecond, never early.
fn deadline(now: u64, duration: u64) -> u64 {
    (now + duration).next_multiple_of(100_000)
}

impl Reference {
    pub fn new(rules: Rules) -> Self {
        let (state, counters) = (State::Closed, Counters::default());
        let (generation, count, opened, tickets, counted_from, booked, times_opened, times_half_opened) = (0, 0, 0, 0, 0, 0, 0, 0);
        let (reopens, probes) = (None, Vec::new());
        #[rustfmt::skip]
        let new = Self {
            rules, state, generation, count, reopens, opened, probes, tickets, counted_from, booked, times_opened, times_half_opened, counters,
        };
        new
    }

    fn enter(&mut self, state: State, now: u64, reopens: Option<u64>) -> Told {
        if self.state == State::Open {
            self.booked += now - self.counted_from;
        }
        let told = (self.state, state, self.generation + 1, reopens.map(|at| at - now));
        (self.state, self.generation, self.count, self.reopens) = (state, self.generation + 1, 0, reopens);
        self.probes.clear();
        match state {
            State::Open => (self.opened, self.counted_from, self.times_opened) = (now, now, self.times_opened + 1),
            State::HalfOpen => self.times_half_opened += 1,
            State::Closed | State::Disabled => {}
        }
        told
    }

    fn trip(&mut self, now: u64) -> Told {
        self.enter(State::Open, now, Some(deadline(now, self.rules.reset_timeout_ns)))
    }

    pub fn acquire(&mut self, now: u64) -> (Result<Ticket, Rejected>, Option<Told>) {
        let due = self.reopens.is_some_and(|at| now >= at);
        let told = (self.state == State::Open && due).then(|| self.enter(State::HalfOpen, now, None));
        self.probes.retain(|(_, ends)| *ends > now);
        let (full, first) = (self.probes.len() >= self.rules.max_probes as usize, self.probes.iter().map(|(_, ends)| *ends).min());
        let wait = match self.state {
            State::Open => Some(self.reopens),
            State::HalfOpen if full => Some(first),
            _ => None,
        };
        if let Some(until) = wait {
            self.counters.rejected += 1;
            return (Err(Rejected { state: self.state, retry_after_ns: until.map(|at| at - now), full: 0 }), told);
        }
        self.tickets += 1;
        if self.state == State::HalfOpen {
            self.probes.push((self.tickets, deadline(now, self.rules.lease_ns)));
        }
        (Ok(Ticket { generation: self.generation, id: self.tickets }), told)
    }

    pub fn settle(&mut self, ticket: Ticket, outcome: Outcome, now: u64) -> Option<Told> {
        if self.state == State::Disabled {
            return None;
        }
        let late = ticket.generation != self.generation;
        match outcome {
            Outcome::Success => self.counters.successful += 1,
            Outcome::Failure | Outcome::Timeout => self.counters.failed += 1,
            Outcome::Ignored => self.counters.ignored += 1,
        }
        self.counters.timed_out += u64::from(outcome == Outcome::Timeout);
        self.counters.late += u64::from(late);
        self.probes.retain(|(id, _)| *id != ticket.id);
        let (success, failure) = (outcome == Outcome::Success, matches!(outcome, Outcome::Failure | Outcome::Timeout));
        match self.state {
            _ if late => None,
            State::Closed if success => {
                self.count = 0;
                None
            }
            State::Closed if failure => {
                self.count += 1;
                (self.count == u64::from(self.rules.trip.limit)).then(|| self.trip(now))
            }
            State::HalfOpen if success => {
                self.count += 1;
                (self.count == u64::from(self.rules.success_threshold)).then(|| self.enter(State::Closed, now, None))
            }
            State::HalfOpen if failure => Some(self.trip(now)),
            _ => None,
        }
    }

    pub fn command(&mut self, event: Event, now: u64) -> Option<Told> {
        let before = self.state;
        match event {
            Event::ForceOpen if before == State::Open => self.reopens = None,
            Event::ForceOpen => return Some(self.enter(State::Open, now, None)),
            Event::ForceClose if before != State::Closed => return Some(self.enter(State::Closed, now, None)),
            Event::Disable if before != State::Disabled => return Some(self.enter(State::Disabled, now, None)),
            Event::Reset => return Some(self.enter(State::Closed, now, None)).filter(|_| before != State::Closed),
            _ => {}
        }
        None
    }

    pub fn reset_metrics(&mut self, now: u64) {
        self.counters = Counters::default();
        (self.booked, self.counted_from, self.times_opened, self.times_half_opened) = (0, now, 0, 0);
    }

    pub fn snapshot(&self, now: u64) -> Snapshot {
        let spell = |since: u64| if self.state == State::Open { now - since } else { 0 };
        Snapshot {
            state: self.state,
            count: self.count,
            elapsed_ns: spell(self.opened),
            open_ns: self.booked + spell(self.counted_from),
            times_opened: self.times_opened,
            times_half_opened: self.times_half_opened,
            counters: self.counters,
        }
    }
}
