//! What a breaker was told: thresholds and durations. Validated where they enter; here they are only numbers.

/// The most probes that can be out at a time.
pub const MAX_PROBES: usize = 16;

/// A level that failures raise and successes lower, and the height at which it trips.
///
/// Consecutive failures are one such score (up by 1, down to 0), the CUSUM of change detection is another (up by m - 1, down by 1).
/// So both live in the word that decides, and a success that finds level 0 has nothing to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Score {
    /// What a failure adds. 0: this score never trips.
    pub up: u32,
    /// What a success takes, down to 0; [`u32::MAX`] takes all.
    pub down: u32,
    /// The level that trips, 1 or more.
    pub limit: u32,
}

impl Score {
    /// The score of a breaker that other rules trip.
    pub const NONE: Self = Self { up: 0, down: u32::MAX, limit: u32::MAX };

    /// So many failures in a row.
    #[must_use]
    pub const fn consecutive(failures: u32) -> Self {
        Self { up: 1, down: u32::MAX, limit: failures }
    }

    /// The level after one more call.
    #[inline(always)]
    #[must_use]
    pub const fn after(self, level: u64, failed: bool) -> u64 {
        if failed { level + self.up as u64 } else { level.saturating_sub(self.down as u64) }
    }

    /// Whether a level trips.
    #[inline(always)]
    #[must_use]
    pub const fn is_met(self, level: u64) -> bool {
        level >= self.limit as u64
    }
}

/// Ten years: no duration is longer, so that its end is a [tick](super::tick) while the machine is up for less than four.
pub const LONGEST_NS: u64 = 315_360_000 * 1_000_000_000;

/// The configuration as the word that decides needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What trips in CLOSED, beside the [meters](super::Meters).
    pub trip: Score,
    /// The place of `trip` among all rules of the breaker.
    pub trip_rule: u8,
    /// Consecutive successful probes in HALF_OPEN that close, 1 to 1,000,000,000.
    pub success_threshold: u32,
    /// Probes at a time in HALF_OPEN, 1 to [`MAX_PROBES`].
    pub max_probes: u32,
    /// How long OPEN lasts before the first probe.
    pub reset_timeout_ns: u64,
    /// How long a probe may keep its slot.
    pub lease_ns: u64,
    /// Whether successful probes begin a ramp, and its end closes.
    pub ramps: bool,
    /// Raised, modulo 256, by rules that replace others and can't read what those gave to a permit, which knows their number.
    pub number: u8,
}

impl Rules {
    /// Rules in which `max_probes` defaults to `success_threshold`, as many as the block has slots for, and the lease to the reset timeout.
    #[must_use]
    pub fn new(failure_threshold: u32, success_threshold: u32, reset_timeout_ns: u64) -> Self {
        #[allow(clippy::cast_possible_truncation)] // 16
        let slots = MAX_PROBES as u32;
        Self {
            trip: Score::consecutive(failure_threshold),
            trip_rule: 0,
            success_threshold,
            max_probes: success_threshold.min(slots),
            reset_timeout_ns,
            lease_ns: reset_timeout_ns,
            ramps: false,
            number: 0,
        }
    }

    /// How long a call that is no probe may keep its place in a bulkhead: once for itself, and as long again for what it does after its
    /// timeout; but no longer than [`LONGEST_NS`], which a tick can hold.
    #[must_use]
    pub fn place_ns(&self) -> u64 {
        self.lease_ns.saturating_mul(2).min(LONGEST_NS)
    }
}
