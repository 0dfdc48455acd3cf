//! The breaker's time: the monotonic clock that Python and its event loops read, or one that a test moves by hand.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDelta, PyFloat, PyInt};

use crate::breaker::Time;

/// Nanoseconds of `CLOCK_MONOTONIC`: host-wide on Linux, so that processes can share deadlines.
#[cfg(unix)]
#[inline]
pub fn monotonic_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// The same clock as of the kernel's last tick, 1 to 4 ms ago, at a quarter of the price.
#[cfg(target_os = "linux")]
#[inline]
fn coarse_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC_COARSE)
}

/// Elsewhere there is no cheaper clock.
#[cfg(not(target_os = "linux"))]
#[inline]
fn coarse_ns() -> u64 {
    monotonic_ns()
}

#[cfg(unix)]
#[inline(always)]
fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer; the clock exists on every platform of this branch.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    #[allow(clippy::cast_sign_loss)] // monotonic time is never negative
    let ns = (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64;
    ns
}

/// Nanoseconds since the first question, where there is no `clock_gettime`.
#[cfg(not(unix))]
#[inline]
pub fn monotonic_ns() -> u64 {
    use std::sync::LazyLock;
    use std::time::Instant;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_nanos() as u64
}

/// Where a breaker reads its time.
pub enum Clock {
    /// The system's.
    Monotonic,
    /// A test's.
    Manual(Py<ManualClock>),
}

impl Time for &Clock {
    #[inline(always)]
    fn now_ns(self) -> u64 {
        match self {
            Clock::Monotonic => monotonic_ns(),
            Clock::Manual(clock) => clock.get().0.load(Relaxed),
        }
    }

    #[inline(always)]
    fn coarse_ns(self) -> u64 {
        match self {
            Clock::Monotonic => coarse_ns(),
            Clock::Manual(clock) => clock.get().0.load(Relaxed),
        }
    }
}

/// A clock that moves only when told to, for tests of breakers and of what uses them.
///
/// Thread-safe. Pass one as ``CircuitBreaker(name, config, clock=clock)``; any number of breakers can share it. It moves the
/// breaker's own time (reset timeout, probe leases, elapsed times); the timeout of a running call belongs to its event loop.
///
/// Args:
///     start: The first reading, in seconds, 0 to 120,000,000; default 0.0.
///
/// Raises:
///     ValueError: ``start`` is out of range or NaN.
///     TypeError: ``start`` is no number.
#[pyclass(frozen, module = "switchgear.testing")]
pub struct ManualClock(AtomicU64);

#[pymethods]
impl ManualClock {
    #[new]
    #[pyo3(signature = (start = None))]
    fn new(start: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        Ok(Self(AtomicU64::new(start.map_or(Ok(0), |start| duration_ns("start", start))?)))
    }

    /// Move the clock forward.
    ///
    /// Args:
    ///     seconds: How far, a float, an int or a ``timedelta``; 0 or more, up to a reading of 120,000,000.
    ///
    /// Raises:
    ///     ValueError: It is negative or NaN, or goes too far.
    ///     TypeError: It is no duration.
    fn advance(&self, seconds: &Bound<'_, PyAny>) -> PyResult<()> {
        let step = duration_ns("seconds", seconds)?;
        let move_on = |now: u64| now.checked_add(step).filter(|now| *now <= LATEST_NS);
        match self.0.fetch_update(Relaxed, Relaxed, move_on) {
            Ok(_) => Ok(()),
            Err(_) => Err(PyValueError::new_err(format!("seconds must leave the clock at 120,000,000 or less, not {}", seconds.repr()?))),
        }
    }

    /// Return the reading in seconds.
    #[allow(clippy::cast_precision_loss)] // exact up to 104 days, and to a nanosecond's fraction beyond
    fn now(&self) -> f64 {
        self.now_ns() as f64 / 1e9
    }

    /// Return the reading in nanoseconds.
    fn now_ns(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn __repr__(&self) -> String {
        format!("ManualClock({:?})", self.now())
    }
}

/// The latest reading, in seconds: 3.8 years, after which a deadline ten years off is still one that the core can hold.
const LATEST: f64 = 120_000_000.0;
const LATEST_NS: u64 = 120_000_000 * 1_000_000_000;

/// Nanoseconds of a duration as people write it; the error names the argument.
fn duration_ns(name: &str, value: &Bound<'_, PyAny>) -> PyResult<u64> {
    let seconds = if value.is_instance_of::<PyDelta>() {
        value.call_method0("total_seconds")?.extract()?
    } else if (value.is_instance_of::<PyFloat>() || value.is_instance_of::<PyInt>()) && !value.is_instance_of::<PyBool>() {
        // An int past every float is past every clock, too.
        value.extract::<f64>().unwrap_or(f64::INFINITY)
    } else {
        return Err(PyTypeError::new_err(format!("{name} must be a number of seconds or a timedelta, not {}", value.get_type().name()?)));
    };
    if !(0.0..=LATEST).contains(&seconds) {
        return Err(PyValueError::new_err(format!("{name} must be from 0 to 120,000,000 seconds, not {}", value.repr()?)));
    }
    #[allow(clippy::cast_sign_loss, clippy::cast_possible_truncation)] // checked just above
    Ok((seconds * 1e9).round_ties_even() as u64)
}
