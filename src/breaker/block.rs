//! The block, and the two verbs that move it: acquire and settle.
//!
//! # Memory orders
//!
//! The word carries everything that decides, so reading it needs no companion and `Relaxed` is enough. The one exception:
//! the instants of an open spell are published *before* the word says OPEN, by a `Release` exchange in [`Block::exchange`]
//! whose partner is the `Acquire` load in [`Block::read`] (and the failing side of the exchange itself). Slots and counters
//! have orders of their own: see [`lease`](super::lease) and [`metrics`](super::metrics).

use crate::sync::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

use super::lease::{Leases, NoSlot};
use super::meter::Met;
use super::metrics::{Counters, LINE, Metrics};
use super::permit::{Cause, Change, Outcome, Permit, Rejected};
use super::rules::Rules;
use super::tick;
use super::transition::{Event, transition};
use super::word::{Generation, Packed, State, Word};

/// The whole mutable state of a breaker: position-independent, without pointers, correct wherever it lies.
///
/// No alignment is asked for beyond 8 bytes. Instead, the word that decides and the counters lie at least a cache line apart,
/// so they never share one, and the block can be part of another object or of a mapping.
#[derive(Debug)]
#[repr(C)]
pub struct Block {
    word: AtomicU64,
    // The latest instants at which a spell in OPEN began, and from which it counts towards `open_ns`. Only ever raised, so a
    // thread that lost the race to open cannot set them back. Written, like the three below, only where the word is.
    opened_at_ns: AtomicU64,
    open_counted_from_ns: AtomicU64,
    open_ns: AtomicU64,
    times_opened: AtomicU64,
    times_half_opened: AtomicU64,
    leases: Leases,
    metrics: Metrics,
}

#[cfg(not(loom))]
const _: () = assert!(std::mem::offset_of!(Block, metrics) - std::mem::offset_of!(Block, word) >= LINE);
#[cfg(loom)]
const _: usize = LINE;

/// What a breaker looked like at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The state.
    pub state: State,
    /// The level of the score in CLOSED (by default: consecutive failures), successful probes in HALF_OPEN, else 0.
    pub count: u64,
    /// Nanoseconds since it opened, in OPEN, else 0.
    pub elapsed_ns: u64,
    /// Nanoseconds spent in OPEN, the present spell included.
    pub open_ns: u64,
    /// How often it opened.
    pub times_opened: u64,
    /// How often it became half open.
    pub times_half_opened: u64,
    /// What calls came to.
    pub counters: Counters,
}

impl Default for Block {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            word: AtomicU64::new(Word::closed(Generation::new(0)).pack()),
            opened_at_ns: zero(),
            open_counted_from_ns: zero(),
            open_ns: zero(),
            times_opened: zero(),
            times_half_opened: zero(),
            leases: Leases::new(),
            metrics: Metrics::new(),
        }
    }
}

impl Block {
    /// The generation, if the state lets every call pass.
    #[inline(always)]
    pub(super) fn passing(&self) -> Option<Generation> {
        let word = Word::unpack(self.word.load(Relaxed));
        matches!(word.state, State::Closed | State::Disabled).then_some(word.generation)
    }

    /// Whether this is the generation now.
    pub(super) fn is_current(&self, generation: Generation) -> bool {
        Word::unpack(self.word.load(Relaxed)).generation == generation
    }

    /// Whether the state is CLOSED, in this generation.
    #[inline(always)]
    pub(super) fn is_closed_in(&self, generation: Generation) -> bool {
        let word = Word::unpack(self.word.load(Relaxed));
        word.state == State::Closed && word.generation == generation
    }

    /// Whether one more failure opens: in HALF_OPEN, and in CLOSED if it meets the score.
    pub(super) fn is_on_the_brink(&self, rules: &Rules) -> bool {
        let word = Word::unpack(self.word.load(Relaxed));
        match word.state {
            State::Closed => rules.trip.is_met(rules.trip.after(word.payload, true)),
            State::HalfOpen => true,
            State::Open | State::Disabled => false,
        }
    }

    /// The state and its generation.
    pub(super) fn now(&self) -> Word {
        Word::unpack(self.word.load(Relaxed))
    }

    /// Ask for a call where not every call passes.
    #[cold]
    pub(super) fn acquire_probe(&self, rules: &Rules, now_ns: u64) -> (Result<Permit, Rejected>, Option<Change>) {
        let mut change = None;
        loop {
            // An arrival opens nothing.
            let (word, changed) = self.apply(rules, None, Event::Arrival, now_ns, |_| tick::NEVER);
            // At most one of all rounds: a spell that begins after `now_ns` is not over at `now_ns`.
            change = changed.or(change);
            let generation = word.generation;
            match word.state {
                State::Closed | State::Disabled => return (Ok(Permit::plain(generation)), change),
                State::Open => return (Err(self.reject(word.state, word.payload, now_ns)), change),
                State::HalfOpen => match self.leases.take(rules, generation, now_ns, || self.is_current(generation)) {
                    Ok(held) => return (Ok(Permit::probe(generation, held)), change),
                    Err(NoSlot::Full(earliest)) => return (Err(self.reject(word.state, earliest, now_ns)), change),
                    Err(NoSlot::Outdated) => {}
                },
            }
        }
    }

    fn reject(&self, state: State, deadline: u64, now_ns: u64) -> Rejected {
        self.metrics.count_rejection();
        Rejected { state, retry_after_ns: tick::until(deadline, now_ns) }
    }

    /// Count a success that changes nothing else: one of the present generation, in CLOSED, with nothing to forgive.
    #[inline(always)]
    pub(super) fn settle_calm(&self, generation: Generation) -> bool {
        let is_calm = self.word.load(Relaxed) == Word::closed(generation).pack();
        if is_calm {
            self.metrics.count_success();
        }
        is_calm
    }

    /// Apply the `event` that the end of a call amounts to, if any, and count the call.
    #[cold]
    #[inline(never)]
    pub(super) fn settle_elsewhere(
        &self,
        rules: &Rules,
        permit: Permit,
        outcome: Outcome,
        event: Option<Event>,
        now_ns: u64,
        open_until: impl Fn(Word) -> u64,
    ) -> Option<Change> {
        let (found, change) = match event {
            Some(event) => self.apply(rules, Some(permit.admitted_in()), event, now_ns, open_until),
            None => (self.read(), None),
        };
        // A change that this very verdict made raised the generation, too: that is not being late.
        let late = change.is_none() && found.generation != permit.admitted_in();
        if found.state != State::Disabled {
            self.metrics.count(outcome, late);
        }
        if let Some(held) = permit.held() {
            self.leases.give_back(held);
        }
        change
    }

    /// Move the state by one event that no call brings; of one `generation`, if it is given.
    pub(super) fn command(
        &self,
        rules: &Rules,
        generation: Option<Generation>,
        event: Event,
        now_ns: u64,
        open_until: impl Fn(Word) -> u64,
    ) -> Option<Change> {
        self.apply(rules, generation, event, now_ns, open_until).1
    }

    /// The one compare-and-swap loop. Returns the word that it left, and the change of state where it made one. With a
    /// `generation`, an event of another one changes nothing.
    #[inline(always)] // the event is known where it is called, and the word stays in registers
    fn apply(
        &self,
        rules: &Rules,
        generation: Option<Generation>,
        event: Event,
        now_ns: u64,
        open_until: impl Fn(Word) -> u64,
    ) -> (Word, Option<Change>) {
        let mut old = self.read();
        loop {
            if generation.is_some_and(|mine| mine != old.generation) {
                return (old, None);
            }
            let new = transition(rules, old, event, now_ns, || open_until(old));
            if new == old {
                return (old, None);
            }
            // Read while the word still says OPEN: once it says something else, the next spell may have raised it.
            let counted_from_ns = self.open_counted_from_ns.load(Relaxed);
            match self.exchange(old, new, now_ns) {
                Ok(()) => {
                    return (new, self.entered(old, new, now_ns, counted_from_ns).map(|change| change.with(cause(rules, old, event))));
                }
                Err(found) => old = found,
            }
        }
    }

    fn read(&self) -> Word {
        // Partner: the exchange below, where it enters OPEN.
        Word::unpack(self.word.load(Acquire))
    }

    fn exchange(&self, old: Word, new: Word, now_ns: u64) -> Result<(), Word> {
        if new.state == State::Open && old.state != State::Open {
            // Raised before the word says OPEN, and never lowered, so no reader sees OPEN with an earlier spell's instants.
            self.opened_at_ns.fetch_max(now_ns, Relaxed);
            self.open_counted_from_ns.fetch_max(now_ns, Relaxed);
        }
        // Release publishes the two instants above; Acquire, and the Acquire of a failure, read another thread's. Partner: `read`.
        self.word.compare_exchange(old.pack(), new.pack(), AcqRel, Acquire).map(drop).map_err(Word::unpack)
    }

    /// Book a change of state. Only the thread whose exchange made it comes here, so each is booked once.
    fn entered(&self, old: Word, new: Word, now_ns: u64, counted_from_ns: u64) -> Option<Change> {
        if old.state == new.state {
            return None;
        }
        if old.state == State::Open {
            self.open_ns.fetch_add(now_ns.saturating_sub(counted_from_ns), Relaxed);
        }
        match new.state {
            State::Open => self.times_opened.fetch_add(1, Relaxed),
            State::HalfOpen => self.times_half_opened.fetch_add(1, Relaxed),
            State::Closed | State::Disabled => 0,
        };
        let retry_after_ns = if new.state == State::Open { tick::until(new.payload, now_ns) } else { None };
        let cause = Cause::Recovery;
        Some(Change { from: old.state, to: new.state, generation: new.generation.number(), now_ns, retry_after_ns, cause, slow_ns: 0 })
    }

    /// The state, alone: what a reader asks for most.
    #[inline]
    pub fn state(&self) -> State {
        Word::unpack(self.word.load(Relaxed)).state
    }

    /// Everything there is to read. It changes nothing: OPEN past its deadline is still OPEN until a call arrives.
    pub fn snapshot(&self, now_ns: u64) -> Snapshot {
        let word = self.read();
        let is_open = word.state == State::Open;
        let since = |instant: &AtomicU64| if is_open { now_ns.saturating_sub(instant.load(Relaxed)) } else { 0 };
        Snapshot {
            state: word.state,
            count: if is_open { 0 } else { word.payload },
            elapsed_ns: since(&self.opened_at_ns),
            open_ns: self.open_ns.load(Relaxed) + since(&self.open_counted_from_ns),
            times_opened: self.times_opened.load(Relaxed),
            times_half_opened: self.times_half_opened.load(Relaxed),
            counters: self.metrics.sum(),
        }
    }

    /// Set the metrics to zero, an open spell's share included. The state stays.
    pub fn reset_metrics(&self, now_ns: u64) {
        self.metrics.reset();
        self.open_counted_from_ns.fetch_max(now_ns, Relaxed);
        for counter in [&self.open_ns, &self.times_opened, &self.times_half_opened] {
            counter.swap(0, Relaxed);
        }
    }
}

/// Why `event` changed the state of `old`.
fn cause(rules: &Rules, old: Word, event: Event) -> Cause {
    match event {
        Event::Failure if old.state == State::Closed => {
            Cause::Rule(Met { rule: rules.trip_rule, hits: rules.trip.after(old.payload, true), calls: 0 })
        }
        Event::Arrival | Event::Success | Event::Failure | Event::Trip => Cause::Recovery,
        Event::ForceOpen | Event::ForceClose | Event::Disable | Event::Reset => Cause::Operator,
    }
}
