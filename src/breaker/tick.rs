//! Deadlines: nanoseconds rounded up to ticks of 100 µs, small enough to share a 64-bit word with a generation.
//!
//! 42 bits of ticks reach 13.9 years of uptime. Rounding up keeps the promise that nothing ends early; a decimal tick keeps
//! every duration that a person would write (0.5 s, 250 ms) exact under an injected clock.

/// Nanoseconds in a tick.
pub const TICK_NS: u64 = 100_000;

/// How many bits a deadline has.
pub const DEADLINE_BITS: u32 = 42;

/// The deadline that never comes: what a breaker that was forced open waits for.
pub const NEVER: u64 = (1 << DEADLINE_BITS) - 1;

/// The tick at which `duration_ns` from `now_ns` has passed. A deadline past the range ends early, at its last tick, rather
/// than never: a breaker must not stay open for good.
#[must_use]
pub fn deadline(now_ns: u64, duration_ns: u64) -> u64 {
    now_ns.saturating_add(duration_ns).div_ceil(TICK_NS).min(NEVER - 1)
}

/// Whether `deadline` has come.
#[must_use]
pub fn is_due(deadline: u64, now_ns: u64) -> bool {
    deadline != NEVER && now_ns / TICK_NS >= deadline
}

/// Nanoseconds from `now_ns` until `deadline`, 0 once it has come; `None` if it never does.
#[must_use]
pub fn until(deadline: u64, now_ns: u64) -> Option<u64> {
    (deadline != NEVER).then(|| (deadline * TICK_NS).saturating_sub(now_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_early_and_at_most_one_tick_late() {
        for (now, duration) in [(0, 1), (1, 1), (99_999, 1), (100_000, 50_000), (123_456_789, 30_000_000_000)] {
            let end = deadline(now, duration);
            assert!(!is_due(end, now + duration - 1));
            assert!(is_due(end, now + duration + TICK_NS));
            assert!(until(end, now).unwrap() >= duration);
        }
    }

    #[test]
    fn a_decimal_duration_from_a_decimal_instant_is_exact() {
        assert!(is_due(deadline(1_500_000_000, 60_000_000_000), 61_500_000_000));
        assert!(!is_due(deadline(1_500_000_000, 60_000_000_000), 61_499_999_999));
    }

    #[test]
    fn never_is_never_due_and_the_longest_deadline_is() {
        assert!(!is_due(NEVER, u64::MAX));
        assert_eq!(None, until(NEVER, 0));
        assert_eq!(NEVER - 1, deadline(u64::MAX, u64::MAX));
        assert!(is_due(NEVER - 1, u64::MAX));
    }
}
