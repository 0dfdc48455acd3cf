//! The native base of `CircuitBreaker`: construction, and all that is read or commanded. The path of a call is in `methods`.

use std::sync::{Mutex, PoisonError};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};

use super::clock::{Clock, ManualClock};
use super::known;
use super::methods;
use super::terms::{CurrentTerms, Terms, to_ns};
use super::verdict;
use crate::breaker::{Block, Change, Outcome, Permit, Time, transition::Event};

/// One protected dependency.
#[pyclass(frozen, subclass, module = "switchgear._native")]
pub struct Breaker {
    pub(super) block: Block,
    terms: CurrentTerms,
    pub(super) clock: Clock,
    pub(super) name: Py<PyString>,
    /// Description of the failure that tripped it last. Locked for one pointer's copy, never while Python runs.
    last_failure: Mutex<Option<Py<PyString>>>,
}

impl Breaker {
    #[inline(always)]
    pub(super) fn now_ns(&self) -> u64 {
        Time::now_ns(&self.clock)
    }

    /// The terms that are in force, until Python code runs: see [`CurrentTerms::get`].
    #[inline(always)]
    pub(super) fn terms(&self) -> &Terms {
        self.terms.get()
    }

    /// Say how a call ended.
    #[inline(always)]
    pub(super) fn settle(&self, permit: Permit, outcome: Outcome) -> Option<Change> {
        self.terms().plan.settle(&self.block, permit, outcome, &self.clock)
    }

    /// Whether a failure that comes now may open.
    pub(super) fn may_open(&self) -> bool {
        self.terms().plan.may_open(&self.block)
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

    pub(super) fn configuration<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.terms().config.bind(py).clone()
    }

    fn command(this: &Bound<'_, Self>, event: Event) -> PyResult<()> {
        let breaker = this.get();
        match breaker.terms().plan.command(&breaker.block, event, breaker.now_ns()) {
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
        Ok(Self {
            block: Block::default(),
            terms: CurrentTerms::new(Terms::from_config(config)?),
            clock: clock.map_or(Clock::Monotonic, Clock::Manual),
            name: name.unbind(),
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
        self.terms().config.clone_ref(py)
    }

    /// The state now. Reading never changes it: past its reset timeout a breaker is OPEN until the next call.
    #[getter]
    fn state(&self, py: Python<'_>) -> Py<PyAny> {
        known::state(self.block.state()).clone_ref(py)
    }

    /// Description of the failure that tripped the breaker last, or None.
    #[getter]
    pub(super) fn last_failure<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        self.describe().as_ref().map(|text| text.bind(py).clone())
    }

    #[allow(clippy::cast_precision_loss)] // seconds for people
    fn _snapshot(&self, py: Python<'_>) -> (Py<PyAny>, u64, f64, Option<f64>) {
        let now_ns = self.now_ns();
        let (snapshot, ramp) = (self.block.snapshot(now_ns), self.terms().plan.ramp_part(&self.block, now_ns));
        (known::state(snapshot.state).clone_ref(py), snapshot.count, snapshot.elapsed_ns as f64 / 1e9, ramp)
    }

    fn _counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let snapshot = self.block.snapshot(self.now_ns());
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
                calls.would_have_rejected,
            ],
        )
    }

    /// Set every counter to zero; a present spell in OPEN then counts from now. The state stays.
    fn reset_metrics(&self) {
        self.block.reset_metrics(self.now_ns());
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
        match breaker.terms().plan.force_open_for(&breaker.block, to_ns(seconds), breaker.now_ns()) {
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

    /// Behave by another configuration from now on; the state, the counters and what is in flight stay.
    fn _reconfigure(&self, config: Bound<'_, PyAny>) -> PyResult<()> {
        let terms = Terms::from_config(config)?;
        self.terms.replace(terms, &self.block, self.now_ns());
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.terms.traverse(&visit)
    }
}
