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

use super::lease::{HeldLease, Leases, NoSlot};
use super::meter::Met;
use super::metrics::{Counters, LINE, Metrics};
use super::permit::{Cause, Change, Outcome, Permit, Rejected};
use super::rules::Rules;
use super::tick;
use super::transition::{Event, transition};
use super::word::{Generation, Packed, RAMP, State, Word};

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

/// What an event did: the word that it found, the word that it left, and the change of state where it made one.
struct Applied {
    before: Word,
    after: Word,
    change: Option<Change>,
}

/// What the state says to a call that asks.
pub(super) enum Answer {
    /// It lets calls pass: CLOSED, DISABLED, or a ramp, which lets a part of them pass.
    Passes(Word),
    /// The call may go as a probe.
    Probe(Permit, HeldLease),
    /// It may not go.
    No(Rejected),
}

impl Answer {
    /// The answer, where nothing but the state has a say.
    pub(super) fn plain(self) -> Result<Permit, Rejected> {
        match self {
            Self::Passes(word) => Ok(Permit::plain(word.generation)),
            Self::Probe(permit, _) => Ok(permit),
            Self::No(rejected) => Err(rejected),
        }
    }
}

/// What a breaker looked like at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The state.
    pub state: State,
    /// The level of the score in CLOSED (by default: consecutive failures) and in a ramp, successful probes in HALF_OPEN, else 0.
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

    /// Whether it is CLOSED, in this generation, with nothing to forgive.
    #[inline(always)]
    pub(super) fn is_calm(&self, generation: Generation) -> bool {
        self.word.load(Relaxed) == Word::closed(generation).pack()
    }

    /// Whether the outcomes of ordinary calls count now, and those of this generation.
    #[inline(always)]
    pub(super) fn records_in(&self, generation: Generation) -> bool {
        let word = Word::unpack(self.word.load(Relaxed));
        word.records() && word.generation == generation
    }

    /// Whether one more failure opens: of a probe, and of any other call if it meets the score.
    pub(super) fn is_on_the_brink(&self, rules: &Rules) -> bool {
        let word = Word::unpack(self.word.load(Relaxed));
        if word.records() { rules.trip.is_met(rules.trip.after(word.payload & !RAMP, true)) } else { word.state == State::HalfOpen }
    }

    /// The state and its generation.
    pub(super) fn now(&self) -> Word {
        Word::unpack(self.word.load(Relaxed))
    }

    /// Ask for a call where not every call passes. What the answer comes to is for the caller to count.
    #[cold]
    pub(super) fn ask(&self, rules: &Rules, now_ns: u64) -> (Answer, Option<Change>) {
        let mut change = None;
        loop {
            // An arrival opens nothing.
            let Applied { after: word, change: changed, .. } = self.apply(rules, None, Event::Arrival, now_ns, |_| tick::NEVER);
            // At most one of all rounds: a spell that begins after `now_ns` is not over at `now_ns`.
            change = changed.or(change);
            let (state, generation) = (word.state, word.generation);
            let no = |deadline| Answer::No(Rejected { state, retry_after_ns: tick::until(deadline, now_ns), full: 0 });
            match state {
                State::Closed | State::Disabled => return (Answer::Passes(word), change),
                State::Open => return (no(word.payload), change),
                State::HalfOpen if word.is_ramp() => return (Answer::Passes(word), change),
                State::HalfOpen => match self.leases.take(rules, generation, now_ns, || self.is_current(generation)) {
                    Ok(held) => return (Answer::Probe(Permit::probe(generation, held), held), change),
                    Err(NoSlot::Full(earliest)) => return (no(earliest), change),
                    Err(NoSlot::Outdated) => {}
                },
            }
        }
    }

    /// Give back the slot of a probe that does not go out after all.
    pub(super) fn give_back(&self, held: HeldLease) {
        self.leases.give_back(held);
    }

    /// Count a call that is not admitted.
    pub(super) fn count_rejection(&self) {
        self.metrics.count_rejection();
    }

    /// Count a call that is admitted only because the breaker observes.
    pub(super) fn count_observed(&self) {
        self.metrics.count_observed();
    }

    /// Count a success that changes nothing else: one of the present generation, in CLOSED, with nothing to forgive.
    #[inline(always)]
    pub(super) fn settle_calm(&self, generation: Generation) -> bool {
        let is_calm = self.is_calm(generation);
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
        let (found, change) = match event.filter(|_| !permit.is_observed()) {
            Some(event) => {
                let applied = self.apply(rules, Some(permit.admitted_in()), event, now_ns, open_until);
                // What it found, not what it left: a generation that this very verdict began makes nobody late.
                (applied.before, applied.change)
            }
            None => (self.read(), None),
        };
        let late = found.generation != permit.admitted_in();
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
        self.apply(rules, generation, event, now_ns, open_until).change
    }

    /// The one compare-and-swap loop. With a `generation`, an event of another one changes nothing.
    #[inline(always)] // the event is known where it is called, and the word stays in registers
    fn apply(&self, rules: &Rules, generation: Option<Generation>, event: Event, now_ns: u64, open_until: impl Fn(Word) -> u64) -> Applied {
        let mut old = self.read();
        loop {
            if generation.is_some_and(|mine| mine != old.generation) {
                return Applied { before: old, after: old, change: None };
            }
            let new = transition(rules, old, event, now_ns, || open_until(old));
            if new == old {
                return Applied { before: old, after: old, change: None };
            }
            // Read while the word still says OPEN: once it says something else, the next spell may have raised it.
            let counted_from_ns = self.open_counted_from_ns.load(Relaxed);
            match self.exchange(old, new, now_ns) {
                Ok(()) => {
                    let change = self.entered(old, new, now_ns, counted_from_ns, cause(rules, old, event));
                    return Applied { before: old, after: new, change };
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
    fn entered(&self, old: Word, new: Word, now_ns: u64, counted_from_ns: u64, cause: Cause) -> Option<Change> {
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
            count: match word.state {
                State::Open => 0,
                State::HalfOpen => word.payload & !RAMP,
                State::Closed | State::Disabled => word.payload,
            },
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
        Event::Failure if old.records() => {
            Cause::Rule(Met { rule: u32::from(rules.trip_rule), hits: rules.trip.after(old.payload & !RAMP, true), calls: 0 })
        }
        Event::RampOver => Cause::Ramp,
        Event::Arrival | Event::Success | Event::Failure | Event::Trip | Event::NewScore => Cause::Recovery,
        Event::ForceOpen | Event::ForceClose | Event::Disable | Event::Reset => Cause::Operator,
    }
}
