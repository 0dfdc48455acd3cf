//! The state machine as a pure function: the same (rules, word, event, now) gives the same word, always.
//!
//! That is what makes it model-checkable, replayable, and the oracle for the Python twin.

use super::rules::Rules;
use super::tick;
use super::word::{RAMP, State, Word};

/// What can happen to a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A call asks to be admitted.
    Arrival,
    /// A call of the current generation succeeded.
    Success,
    /// A call of the current generation failed.
    Failure,
    /// A call of the current generation met a meter, though it may have succeeded; or probes brought no verdict for too long.
    Trip,
    /// A ramp has come to its end.
    RampOver,
    /// The rules have changed, and with them what the level means.
    NewScore,
    /// An operator opens the breaker.
    ForceOpen,
    /// An operator closes it.
    ForceClose,
    /// An operator lets everything pass unrecorded.
    Disable,
    /// An operator makes it as new.
    Reset,
}

/// The word after `event` at `now_ns`. Equal to `word` where the event changes nothing. `open_until` is the tick until which it is to
/// stay OPEN if it opens; it is asked for only then.
// Inlined, with its helpers, because a `Word` that is returned goes through memory in other pieces than it is read in: each
// failure and each rejection waited twice for its own stores.
#[inline(always)]
#[must_use]
pub fn transition(rules: &Rules, word: Word, event: Event, now_ns: u64, open_until: impl FnOnce() -> u64) -> Word {
    match (word.state, event) {
        (State::Open, Event::Arrival) if tick::is_due(word.payload, now_ns) => enter(word, State::HalfOpen, 0),

        (State::Closed, Event::Success) => Word { payload: rules.trip.after(word.payload, false), ..word },
        (State::Closed, Event::Failure) => {
            let level = rules.trip.after(word.payload, true);
            if rules.trip.is_met(level) { enter(word, State::Open, open_until()) } else { Word { payload: level, ..word } }
        }
        (State::Closed, Event::NewScore) => Word { payload: 0, ..word },

        (State::HalfOpen, Event::Success | Event::Failure | Event::RampOver | Event::NewScore) if word.is_ramp() => {
            in_ramp(rules, word, event, open_until)
        }
        (State::HalfOpen, Event::Success) => count(word, rules.success_threshold, |full| {
            if rules.ramps { enter(full, State::HalfOpen, RAMP) } else { enter(full, State::Closed, 0) }
        }),

        // Already open: only the deadline moves. The generation stays, since the state does.
        (State::Open, Event::ForceOpen) => Word { payload: open_until(), ..word },
        (State::Closed, Event::Trip) | (State::HalfOpen, Event::Failure | Event::Trip) | (_, Event::ForceOpen) => {
            enter(word, State::Open, open_until())
        }
        (State::Open | State::HalfOpen | State::Disabled, Event::ForceClose) | (_, Event::Reset) => enter(word, State::Closed, 0),
        (State::Closed | State::Open | State::HalfOpen, Event::Disable) => enter(word, State::Disabled, 0),

        // OPEN admits nobody, so a verdict of its generation cannot exist; DISABLED records nothing.
        (State::Open | State::Disabled, Event::Success | Event::Failure | Event::Trip)
        | (_, Event::Arrival | Event::RampOver | Event::NewScore)
        | (State::Closed, Event::ForceClose)
        | (State::Disabled, Event::Disable) => word,
    }
}

/// A ramp counts as CLOSED does: the probes have succeeded, so it takes a rule to open again.
#[cold]
fn in_ramp(rules: &Rules, word: Word, event: Event, open_until: impl FnOnce() -> u64) -> Word {
    let level = word.payload & !RAMP;
    let after = match event {
        Event::RampOver => return enter(word, State::Closed, 0),
        Event::NewScore => 0,
        _ => rules.trip.after(level, event == Event::Failure),
    };
    if event == Event::Failure && rules.trip.is_met(after) {
        return enter(word, State::Open, open_until());
    }
    Word { payload: RAMP | after, ..word }
}

#[inline(always)]
fn enter(word: Word, state: State, payload: u64) -> Word {
    Word { state, generation: word.generation.next(), payload }
}

/// One more in the payload, or what `reached` makes of the word when that is the `threshold`.
#[inline(always)]
fn count(word: Word, threshold: u32, reached: impl FnOnce(Word) -> Word) -> Word {
    let payload = word.payload + 1;
    if payload >= u64::from(threshold) { reached(word) } else { Word { payload, ..word } }
}

#[cfg(test)]
mod tests {
    use super::super::rules::Score;
    use super::super::word::Generation;
    use super::*;

    const RULES: Rules = Rules {
        trip: Score::consecutive(2),
        trip_rule: 0,
        success_threshold: 2,
        max_probes: 2,
        reset_timeout_ns: 1_000_000_000,
        lease_ns: 1,
        ramps: false,
        number: 0,
    };

    fn after(rules: &Rules, word: Word, event: Event, now_ns: u64) -> Word {
        let until = if event == Event::ForceOpen { tick::NEVER } else { tick::deadline(now_ns, rules.reset_timeout_ns) };
        transition(rules, word, event, now_ns, || until)
    }

    fn word(state: State, payload: u64) -> Word {
        Word { state, generation: Generation::new(5), payload }
    }

    fn next(state: State, payload: u64) -> Word {
        Word { state, generation: Generation::new(6), payload }
    }

    #[test]
    fn closed_counts_consecutive_failures_and_trips_at_the_threshold() {
        let one = after(&RULES, word(State::Closed, 0), Event::Failure, 0);
        assert_eq!(word(State::Closed, 1), one);
        assert_eq!(next(State::Open, 10_000), after(&RULES, one, Event::Failure, 0));
        assert_eq!(word(State::Closed, 0), after(&RULES, one, Event::Success, 0));
    }

    #[test]
    fn a_score_rises_by_a_failure_and_falls_by_a_success() {
        let rules = Rules { trip: Score { up: 3, down: 1, limit: 6 }, ..RULES };
        let three = after(&rules, word(State::Closed, 0), Event::Failure, 0);
        assert_eq!(word(State::Closed, 3), three);
        assert_eq!(word(State::Closed, 2), after(&rules, three, Event::Success, 0));
        assert_eq!(word(State::Closed, 0), after(&rules, word(State::Closed, 0), Event::Success, 0));
        assert_eq!(State::Open, after(&rules, three, Event::Failure, 0).state);
    }

    #[test]
    fn no_score_at_all_never_trips() {
        let rules = Rules { trip: Score::NONE, ..RULES };
        assert_eq!(word(State::Closed, 0), after(&rules, word(State::Closed, 0), Event::Failure, 0));
        assert_eq!(next(State::Open, 10_000), after(&rules, word(State::Closed, 0), Event::Trip, 0));
    }

    #[test]
    fn open_lets_the_first_arrival_after_the_deadline_probe() {
        let open = word(State::Open, 10_000);
        assert_eq!(open, after(&RULES, open, Event::Arrival, 999_999_999));
        assert_eq!(next(State::HalfOpen, 0), after(&RULES, open, Event::Arrival, 1_000_000_000));
    }

    #[test]
    fn half_open_closes_after_enough_successes_and_reopens_on_any_failure() {
        let one = after(&RULES, word(State::HalfOpen, 0), Event::Success, 0);
        assert_eq!(word(State::HalfOpen, 1), one);
        assert_eq!(next(State::Closed, 0), after(&RULES, one, Event::Success, 0));
        assert_eq!(next(State::Open, 10_000), after(&RULES, one, Event::Failure, 0));
    }

    #[test]
    fn an_operator_reaches_every_state_from_every_state() {
        for state in State::ALL {
            assert_eq!(State::Open, after(&RULES, word(state, 0), Event::ForceOpen, 0).state);
            assert_eq!(State::Closed, after(&RULES, word(state, 0), Event::ForceClose, 0).state);
            assert_eq!(State::Disabled, after(&RULES, word(state, 0), Event::Disable, 0).state);
            assert_eq!(next(State::Closed, 0), after(&RULES, word(state, 0), Event::Reset, 0));
        }
    }

    #[test]
    fn forced_open_never_becomes_due() {
        let forced = after(&RULES, word(State::Closed, 0), Event::ForceOpen, 0);
        assert_eq!(forced, after(&RULES, forced, Event::Arrival, u64::MAX));
    }

    #[test]
    fn successful_probes_begin_a_ramp_which_counts_as_closed_does_until_it_is_over() {
        let rules = Rules { ramps: true, ..RULES };
        let ramp = after(&rules, word(State::HalfOpen, 1), Event::Success, 0);
        assert_eq!(next(State::HalfOpen, RAMP), ramp);
        assert!(ramp.is_ramp());
        let one = after(&rules, ramp, Event::Failure, 0);
        assert_eq!(Word { payload: RAMP | 1, ..ramp }, one);
        assert_eq!(ramp, after(&rules, one, Event::Success, 0));
        assert_eq!(ramp, after(&rules, one, Event::NewScore, 0));
        assert_eq!(State::Open, after(&rules, one, Event::Failure, 0).state);
        assert_eq!(State::Open, after(&rules, ramp, Event::Trip, 0).state);
        assert_eq!(State::Closed, after(&rules, ramp, Event::RampOver, 0).state);
        assert_eq!(word(State::HalfOpen, 1), after(&rules, word(State::HalfOpen, 1), Event::RampOver, 0));
    }

    #[test]
    fn every_change_of_state_raises_the_generation_and_nothing_else_but_reset_does() {
        let events = [
            Event::Arrival,
            Event::Success,
            Event::Failure,
            Event::Trip,
            Event::RampOver,
            Event::NewScore,
            Event::ForceOpen,
            Event::ForceClose,
            Event::Disable,
            Event::Reset,
        ];
        for state in State::ALL {
            for event in events {
                let before = word(state, 1);
                let next = after(&RULES, before, event, 1 << 40);
                let raised = next.generation != before.generation;
                assert_eq!(raised, next.state != before.state || event == Event::Reset, "{state:?} {event:?}");
            }
        }
    }
}
