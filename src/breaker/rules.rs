//! What a breaker was told: thresholds and durations. Validated where they enter; here they are only numbers.

/// The most probes that can be out at a time.
pub const MAX_PROBES: usize = 16;

/// The configuration as the core needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Consecutive failures in CLOSED that trip, 1 to 1,000,000,000.
    pub failure_threshold: u32,
    /// Consecutive successful probes in HALF_OPEN that close, 1 to 1,000,000,000.
    pub success_threshold: u32,
    /// Probes at a time in HALF_OPEN, 1 to [`MAX_PROBES`].
    pub max_probes: u32,
    /// How long OPEN lasts before the first probe.
    pub reset_timeout_ns: u64,
    /// How long a probe may keep its slot.
    pub lease_ns: u64,
}

impl Rules {
    /// Rules in which `max_probes` defaults to `success_threshold`, as many as the block has slots for, and the lease to the reset timeout.
    #[must_use]
    pub fn new(failure_threshold: u32, success_threshold: u32, reset_timeout_ns: u64) -> Self {
        #[allow(clippy::cast_possible_truncation)] // 16
        let slots = MAX_PROBES as u32;
        Self {
            failure_threshold,
            success_threshold,
            max_probes: success_threshold.min(slots),
            reset_timeout_ns,
            lease_ns: reset_timeout_ns,
        }
    }
}
