//! The native base of `CircuitBreaker`: construction, and all that is read or commanded. The path of a call is in `methods`.

use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};

use super::clock::{Clock, ManualClock};
use super::known;
use super::methods;
use super::trip_rules;
use super::verdict;
use crate::breaker::{self as core, Rules, Time, transition::Event};

/// One protected dependency.
#[pyclass(frozen, subclass, module = "switchgear._native")]
pub struct Breaker {
    pub(super) core: core::Breaker,
    pub(super) clock: Clock,
    /// Seconds that an awaited call may take.
    pub(super) timeout: Option<f64>,
    /// Absent where the configuration says nothing of exceptions and results: then every exception is a failure, every result a success.
    pub(super) judge: Option<Box<Judge>>,
    pub(super) name: Py<PyString>,
    config: Py<PyAny>,
    /// Description of the failure that tripped it last. Locked for one pointer's copy, never while Python runs.
    last_failure: Mutex<Option<Py<PyString>>>,
}

/// What the configuration says of exceptions and results; each absent by default.
pub struct Judge {
    pub(super) ignore: Option<Py<PyAny>>,
    pub(super) record_only: Option<Py<PyAny>>,
    pub(super) is_failure: Option<Py<PyAny>>,
    pub(super) classify: Option<Py<PyAny>>,
}

impl Judge {
    fn from_config(config: &Bound<'_, PyAny>) -> PyResult<Option<Box<Self>>> {
        let field = |name| config.getattr(name).map(|value| (!value.is_none()).then(|| value.unbind()));
        let ignore = config.getattr("ignore")?;
        let ignore = if ignore.is_truthy()? { Some(ignore.unbind()) } else { None };
        let judge = Self { ignore, record_only: field("record_only")?, is_failure: field("is_failure")?, classify: field("classify")? };
        let says_something = [&judge.ignore, &judge.record_only, &judge.is_failure, &judge.classify].into_iter().any(Option::is_some);
        Ok(says_something.then(|| Box::new(judge)))
    }
}

impl Breaker {
    #[inline(always)]
    pub(super) fn now_ns(&self) -> u64 {
        Time::now_ns(&self.clock)
    }

    fn describe(&self) -> std::sync::MutexGuard<'_, Option<Py<PyString>>> {
        // Nothing in the critical sections can panic; were it to, the description is still whole.
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_last_failure(&self, text: Py<PyString>) {
        let old = self.describe().replace(text);
        // Dropped here, not under the lock.
        drop(old);
    }

    pub(super) fn forget_last_failure(&self) {
        let old = self.describe().take();
        // As above.
        drop(old);
    }

    pub(super) fn configuration<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.config.bind(py)
    }

    fn command(this: &Bound<'_, Self>, event: Event) -> PyResult<()> {
        let breaker = this.get();
        match breaker.core.command(event, breaker.now_ns()) {
            Some(change) => verdict::announce(this.as_any(), change),
            None => Ok(()),
        }
    }
}

#[pymethods]
impl Breaker {
    #[new]
    #[pyo3(signature = (name, config, clock = None))]
    fn new(name: Bound<'_, PyString>, config: Bound<'_, PyAny>, clock: Option<Py<ManualClock>>) -> PyResult<Self> {
        let seconds = |field| config.getattr(field)?.extract::<Option<f64>>();
        let threshold = |field| config.getattr(field)?.extract::<u32>();
        let timeout = seconds("timeout")?;
        let reset_timeout = seconds("reset_timeout")?
            .map(to_ns)
            .ok_or_else(|| PyTypeError::new_err("reset_timeout must be a number of seconds, not None"))?;
        let default = Rules::new(threshold("failure_threshold")?, threshold("success_threshold")?, reset_timeout);
        let (trip, meters) = match config.getattr("trip")? {
            rules if rules.is_none() => ((0, default.trip), None),
            rules => trip_rules::of(&rules)?,
        };
        let max_probes = config.getattr("half_open_max_calls")?.extract::<Option<u32>>()?;
        let rules = Rules {
            trip: trip.1,
            trip_rule: trip.0,
            max_probes: max_probes.unwrap_or(default.max_probes).min(default_slots()),
            lease_ns: timeout.map_or(reset_timeout, to_ns),
            ..default
        };
        Ok(Self {
            core: match (meters, recovery(&config)?) {
                (None, None) => core::Breaker::new(rules),
                (meters, recovery) => core::Breaker::with(
                    rules,
                    meters.unwrap_or_else(|| core::Meters::new(&[])),
                    recovery.unwrap_or_else(|| core::Recovery::new(None, None)),
                ),
            },
            clock: clock.map_or(Clock::Monotonic, Clock::Manual),
            timeout,
            judge: Judge::from_config(&config)?,
            name: name.unbind(),
            config: config.unbind(),
            last_failure: Mutex::new(None),
        })
    }

    /// Give a derived class hot methods of its own; see `methods::attach`.
    #[classmethod]
    fn __init_subclass__(class: &Bound<'_, PyType>) -> PyResult<()> {
        methods::attach(class)
    }

    /// What the breaker protects, for people.
    #[getter]
    fn name(&self, py: Python<'_>) -> Py<PyString> {
        self.name.clone_ref(py)
    }

    /// How the breaker behaves.
    #[getter]
    fn config(&self, py: Python<'_>) -> Py<PyAny> {
        self.config.clone_ref(py)
    }

    /// The state now. Reading never changes it: past its reset timeout a breaker is OPEN until the next call.
    #[getter]
    fn state(&self, py: Python<'_>) -> Py<PyAny> {
        known::state(self.core.block().state()).clone_ref(py)
    }

    /// Description of the failure that tripped the breaker last, or None.
    #[getter]
    pub(super) fn last_failure<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        self.describe().as_ref().map(|text| text.bind(py).clone())
    }

    #[allow(clippy::cast_precision_loss)] // seconds for people
    fn _snapshot(&self, py: Python<'_>) -> (Py<PyAny>, u64, f64) {
        let snapshot = self.core.block().snapshot(self.now_ns());
        (known::state(snapshot.state).clone_ref(py), snapshot.count, snapshot.elapsed_ns as f64 / 1e9)
    }

    fn _counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let snapshot = self.core.block().snapshot(self.now_ns());
        let calls = snapshot.counters;
        // The order of CircuitBreakerMetrics' fields.
        PyTuple::new(
            py,
            [
                calls.total(),
                calls.successful,
                calls.failed,
                calls.rejected,
                snapshot.open_ns / 1_000_000,
                snapshot.times_opened,
                snapshot.times_half_opened,
                calls.ignored,
                calls.timed_out,
                calls.late,
            ],
        )
    }

    /// Set every counter to zero; a present spell in OPEN then counts from now. The state stays.
    fn reset_metrics(&self) {
        self.core.block().reset_metrics(self.now_ns());
    }

    /// Reject every call: until told otherwise, or for ``for_`` seconds, after which the first probe may go.
    ///
    /// Args:
    ///     for_: Seconds (or a ``timedelta``), above 0, at most ten years; default None: until told otherwise.
    ///
    /// Raises:
    ///     ValueError: It is out of range.
    #[pyo3(signature = (for_ = None))]
    fn force_open(this: &Bound<'_, Self>, for_: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let Some(for_) = for_.filter(|for_| !for_.is_none()) else { return Self::command(this, Event::ForceOpen) };
        let duration = this.py().import("switchgear.config")?.getattr("_duration")?;
        let seconds = duration.call1(("for_", for_, "None or "))?.extract()?;
        let breaker = this.get();
        match breaker.core.force_open_for(to_ns(seconds), breaker.now_ns()) {
            Some(change) => verdict::announce(this.as_any(), change),
            None => Ok(()),
        }
    }

    /// Close the breaker; where it is CLOSED already, nothing changes.
    fn force_close(this: &Bound<'_, Self>) -> PyResult<()> {
        Self::command(this, Event::ForceClose)
    }

    /// Let every call pass and record nothing, until ``force_close()``, ``force_open()`` or ``reset()``.
    fn disable(this: &Bound<'_, Self>) -> PyResult<()> {
        Self::command(this, Event::Disable)
    }

    /// Make the breaker CLOSED with nothing counted against it; calls in flight become late. Metrics stay.
    fn reset(this: &Bound<'_, Self>) -> PyResult<()> {
        Self::command(this, Event::Reset)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // The configuration can hold user functions (`is_failure`), and those anything. It is immutable: a cycle through it
        // passes a mutable object, and that one the collector can clear.
        visit.call(&self.config)?;
        if let Some(judge) = &self.judge {
            visit.call(&judge.is_failure)?;
            visit.call(&judge.classify)?;
            // A second reference each to what the configuration holds: unseen, it would keep their cycles alive.
            visit.call(&judge.ignore)?;
            visit.call(&judge.record_only)?;
        }
        Ok(())
    }
}

/// The rules of recovery, where the configuration has some beside the reset timeout.
fn recovery(config: &Bound<'_, PyAny>) -> PyResult<Option<core::Recovery>> {
    let max_wait = config.getattr("half_open_max_wait")?.extract::<Option<f64>>()?;
    if max_wait.is_none() && config.getattr("backoff")?.is_none() {
        return Ok(None);
    }
    let numbers = config.py().import("switchgear.recovery")?.call_method1("backoff_numbers", (config,))?;
    let backoff = numbers.extract::<Option<(f64, u64, f64, u64)>>()?;
    let backoff = backoff.map(|(multiplier, max_ns, jitter, seed)| core::Backoff { multiplier, max_ns, jitter, seed });
    Ok(Some(core::Recovery::new(backoff, max_wait.map(to_ns))))
}

/// Nanoseconds of validated seconds; never 0, which would mean nothing.
#[allow(clippy::cast_sign_loss, clippy::cast_possible_truncation)] // CircuitBreakerConfig bounds it by ten years
pub(super) fn to_ns(seconds: f64) -> u64 {
    ((seconds * 1e9).round_ties_even() as u64).max(1)
}

#[allow(clippy::cast_possible_truncation)] // 16
fn default_slots() -> u32 {
    core::MAX_PROBES as u32
}
