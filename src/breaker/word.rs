//! The word that decides: state, generation and the one number that the state needs, packed into 64 bits.
//!
//! ```text
//!  63  62 61               42 41                                   0
//! ┌──────┬───────────────────┬──────────────────────────────────────┐
//! │state │    generation     │               payload                │
//! └──────┴───────────────────┴──────────────────────────────────────┘
//! payload   CLOSED: level of the score (32 bits used)   HALF_OPEN: successful probes (30 bits used)
//!           OPEN: the tick at which the first probe may go, or NEVER        DISABLED: 0
//!           HALF_OPEN whose probes have succeeded, in a ramp: the uppermost bit, and the level of the score
//! ```
//!
//! The deadline lies in the same word as the state, so no reader can see OPEN with another spell's deadline.

use super::tick;

const PAYLOAD_BITS: u32 = tick::DEADLINE_BITS;
const GENERATION_BITS: u32 = 20;
const STATE_SHIFT: u32 = PAYLOAD_BITS + GENERATION_BITS;
const PAYLOAD_MASK: u64 = (1 << PAYLOAD_BITS) - 1;
const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;
/// In the payload of HALF_OPEN: the probes have succeeded, and a growing part of the calls passes.
pub(super) const RAMP: u64 = 1 << (PAYLOAD_BITS - 1);

/// What a breaker does with the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Calls pass and are counted. Zero, so that a closed breaker with nothing to remember is just its generation.
    Closed = 0,
    /// Calls are rejected until the deadline.
    Open = 1,
    /// A few calls pass, as probes.
    HalfOpen = 2,
    /// Calls pass and nothing is recorded.
    Disabled = 3,
}

impl State {
    /// The state's name, as Python's `State` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::Open => "OPEN",
            Self::HalfOpen => "HALF_OPEN",
            Self::Disabled => "DISABLED",
        }
    }

    /// Every state, in the order of its number.
    pub const ALL: [Self; 4] = [Self::Closed, Self::Open, Self::HalfOpen, Self::Disabled];
}

/// A value that lives in one atomic 64-bit word.
pub trait Packed: Copy + PartialEq {
    /// The value as bits.
    fn pack(self) -> u64;
    /// The value that [`pack`](Packed::pack) made these bits from.
    fn unpack(bits: u64) -> Self;
}

/// A count of state changes, modulo 2^20.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u32);

impl Generation {
    /// How many bits a generation has.
    pub const BITS: u32 = GENERATION_BITS;

    /// The generation with this number, modulo 2^20.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number & GENERATION_MASK)
    }

    /// The generation after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::new(self.0 + 1)
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// The unpacked word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// The state.
    pub state: State,
    /// Raised by every change of the state.
    pub generation: Generation,
    /// What the state counts or waits for; see the module's drawing.
    pub payload: u64,
}

impl Word {
    /// CLOSED with no failure pending: what a success finds, and leaves, nearly always.
    #[inline(always)]
    #[must_use]
    pub const fn closed(generation: Generation) -> Self {
        Self { state: State::Closed, generation, payload: 0 }
    }

    /// Whether a growing part of the calls passes: HALF_OPEN after its probes.
    #[inline(always)]
    #[must_use]
    pub const fn is_ramp(self) -> bool {
        matches!(self.state, State::HalfOpen) && self.payload & RAMP != 0
    }

    /// Whether the outcomes of ordinary calls count: in CLOSED, and in a ramp.
    #[inline(always)]
    #[must_use]
    pub const fn records(self) -> bool {
        matches!(self.state, State::Closed) || self.is_ramp()
    }
}

impl Packed for Word {
    #[inline(always)]
    fn pack(self) -> u64 {
        debug_assert!(self.payload <= PAYLOAD_MASK, "a payload has {PAYLOAD_BITS} bits");
        (self.state as u64) << STATE_SHIFT | u64::from(self.generation.0) << PAYLOAD_BITS | self.payload
    }

    #[inline(always)]
    fn unpack(bits: u64) -> Self {
        let state = match bits >> STATE_SHIFT {
            0 => State::Closed,
            1 => State::Open,
            2 => State::HalfOpen,
            _ => State::Disabled,
        };
        #[allow(clippy::cast_possible_truncation)] // Generation::new keeps the 20 bits that are meant
        let generation = Generation::new((bits >> PAYLOAD_BITS) as u32);
        Self { state, generation, payload: bits & PAYLOAD_MASK }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_word_survives_packing(state in 0usize..4, number in 0u32..1 << GENERATION_BITS, payload in 0u64..=PAYLOAD_MASK) {
            let word = Word { state: State::ALL[state], generation: Generation::new(number), payload };
            prop_assert_eq!(word, Word::unpack(word.pack()));
        }

        #[test]
        fn any_bits_survive_unpacking(bits: u64) {
            prop_assert_eq!(bits, Word::unpack(bits).pack());
        }
    }

    #[test]
    fn a_closed_breaker_with_nothing_to_remember_is_its_generation_alone() {
        assert_eq!(0, Word::closed(Generation::new(0)).pack());
        assert_eq!(7 << PAYLOAD_BITS, Word::closed(Generation::new(7)).pack());
    }
}
