//! What a configuration comes to, and the one place where a breaker has it: it can be replaced while calls are on their way.
//!
//! The terms that a breaker was made with lie in the breaker, since nearly every breaker keeps them; those that replaced them lie behind
//! one pointer. So the path of a call loads that pointer, and nearly always finds it null.

use std::ptr::null_mut;
use std::sync::atomic::{
    AtomicPtr,
    Ordering::{AcqRel, Acquire},
};
#[cfg(Py_GIL_DISABLED)]
use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::trip_rules;
use crate::breaker::{Backoff, Block, Bulkhead, Gates, More, Plan, Ramp, Recovery, Rules, Throttle};

/// What a configuration comes to.
pub struct Terms {
    pub plan: Plan,
    /// Seconds that an awaited call may take; infinite: there is no limit. (No `Option`: that is a word more, in each breaker.)
    pub timeout: f64,
    /// Absent where the configuration says nothing of exceptions and results: then every exception is a failure, every result a success.
    pub judge: Option<Box<Judge>>,
    pub config: Py<PyAny>,
}

/// What the configuration says of exceptions and results; each absent by default.
pub struct Judge {
    pub ignore: Option<Py<PyAny>>,
    pub record_only: Option<Py<PyAny>>,
    pub is_failure: Option<Py<PyAny>>,
    pub classify: Option<Py<PyAny>>,
}

impl Terms {
    /// The terms of a `CircuitBreakerConfig`.
    pub fn from_config(config: Bound<'_, PyAny>) -> PyResult<Self> {
        let timeout = seconds(&config, "timeout")?;
        let reset_timeout = seconds(&config, "reset_timeout")?
            .map(to_ns)
            .ok_or_else(|| PyTypeError::new_err("reset_timeout must be a number of seconds, not None"))?;
        let threshold = |field| config.getattr(field)?.extract::<u32>();
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
        let plan = match (meters, recovery(&config)?, gates(&config)?) {
            (None, None, None) => Plan::new(rules),
            (meters, recovery, gates) => {
                let (meters, recovery) = (meters.unwrap_or_default(), recovery.unwrap_or_default());
                Plan::with(rules, More { meters, recovery, gates: gates.map(Box::new) })
            }
        };
        Ok(Self { plan, timeout: timeout.unwrap_or(f64::INFINITY), judge: Judge::from_config(&config)?, config: config.unbind() })
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
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

/// The terms of a breaker now.
pub struct CurrentTerms {
    first: Terms,
    /// Null, or a box: those that replaced the first.
    later: AtomicPtr<Terms>,
    /// Those that were replaced: without the GIL, nobody can tell when their last reader has gone. Locked while one takes over from another.
    #[cfg(Py_GIL_DISABLED)]
    replaced: Mutex<Vec<Box<Terms>>>,
}

impl CurrentTerms {
    pub fn new(first: Terms) -> Self {
        Self {
            first,
            later: AtomicPtr::new(null_mut()),
            #[cfg(Py_GIL_DISABLED)]
            replaced: Mutex::new(Vec::new()),
        }
    }

    /// The terms that are in force.
    ///
    /// With the GIL the answer lives as long as no Python code runs: whatever is called may replace it. Who calls something takes
    /// references of its own before.
    #[inline(always)]
    pub fn get(&self) -> &Terms {
        // Partner: the swap in `replace`.
        let later = self.later.load(Acquire);
        // SAFETY: null, or a box that `replace` put here. With the GIL it is dropped only by `replace`, that is by Python code, and
        // until that runs the caller is done (see above); without the GIL it is kept as long as the breaker.
        unsafe { later.as_ref().unwrap_or(&self.first) }
    }

    /// Put `terms` into force, which take over what the present ones remember of `block`.
    pub fn replace(&self, terms: Terms, block: &Block, now_ns: u64) {
        #[cfg(Py_GIL_DISABLED)]
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        // Between here and the swap nothing of Python runs, so that of two replacements one takes over from the other.
        let plan = terms.plan.in_place_of(&self.get().plan, block, now_ns);
        let new = Box::into_raw(Box::new(Terms { plan, ..terms }));
        // Release publishes what the box holds, Acquire is for its end. Partner: the load in `get`.
        let old = self.later.swap(new, AcqRel);
        if old.is_null() {
            return;
        }
        // SAFETY: `old` came from a box, and nobody else has swapped it out.
        let old = unsafe { Box::from_raw(old) };
        #[cfg(Py_GIL_DISABLED)]
        replaced.push(old);
        // Last, since what it lets go of may run Python code.
        #[cfg(not(Py_GIL_DISABLED))]
        drop(old);
    }

    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.first.traverse(visit)?;
        let later = self.later.load(Acquire);
        // SAFETY: null, or a box: the collector runs while no other code of Python's does.
        if let Some(later) = unsafe { later.as_ref() } {
            later.traverse(visit)?;
        }
        #[cfg(Py_GIL_DISABLED)]
        if let Ok(replaced) = self.replaced.try_lock() {
            for terms in &*replaced {
                terms.traverse(visit)?;
            }
        }
        Ok(())
    }
}

impl Drop for CurrentTerms {
    fn drop(&mut self) {
        let later = *self.later.get_mut();
        if !later.is_null() {
            // SAFETY: it came from a box, and nobody can read it any more.
            drop(unsafe { Box::from_raw(later) });
        }
    }
}

/// The rules of recovery, where the configuration has some beside the reset timeout.
fn recovery(config: &Bound<'_, PyAny>) -> PyResult<Option<Recovery>> {
    let max_wait = seconds(config, "half_open_max_wait")?;
    if max_wait.is_none() && config.getattr("backoff")?.is_none() {
        return Ok(None);
    }
    let backoff = numbers::<Option<(f64, u64, f64, u64)>>(config, "switchgear.recovery", "backoff_numbers")?;
    let backoff = backoff.map(|(multiplier, max_ns, jitter, seed)| Backoff { multiplier, max_ns, jitter, seed });
    Ok(Some(Recovery::new(backoff, max_wait.map(to_ns))))
}

/// What a call has to pass beside the state, where the configuration has any of it.
fn gates(config: &Bound<'_, PyAny>) -> PyResult<Option<Gates>> {
    let observes = config.getattr("mode")?.eq("observe")?;
    let places = config.getattr("max_concurrent")?.extract::<Option<u32>>()?;
    let has = |field| config.getattr(field).map(|value| !value.is_none());
    let ramp = if has("ramp")? {
        let (steps, step_ns, seed) = numbers::<(Vec<f64>, u64, u64)>(config, "switchgear.recovery", "ramp_numbers")?;
        Some(Ramp::new(steps.into(), step_ns, seed))
    } else {
        None
    };
    let throttle = if has("throttle")? {
        let (k, bucket_ns, seed) = numbers::<(f64, u64, u64)>(config, "switchgear.throttling", "throttle_numbers")?;
        Some(Throttle::new(k, bucket_ns, seed))
    } else {
        None
    };
    let has_any = observes || places.is_some() || ramp.is_some() || throttle.is_some();
    Ok(has_any.then(|| Gates { ramp, bulkhead: places.map(Bulkhead::new), throttle, observes }))
}

/// What `function` of `module` makes of a configuration: plain numbers.
fn numbers<T: for<'a, 'py> FromPyObject<'a, 'py, Error = PyErr>>(config: &Bound<'_, PyAny>, module: &str, function: &str) -> PyResult<T> {
    config.py().import(module)?.call_method1(function, (config,))?.extract()
}

fn seconds(config: &Bound<'_, PyAny>, field: &str) -> PyResult<Option<f64>> {
    config.getattr(field)?.extract()
}

/// Nanoseconds of validated seconds; never 0, which would mean nothing.
#[allow(clippy::cast_sign_loss, clippy::cast_possible_truncation)] // CircuitBreakerConfig bounds it by ten years
pub fn to_ns(seconds: f64) -> u64 {
    ((seconds * 1e9).round_ties_even() as u64).max(1)
}

#[allow(clippy::cast_possible_truncation)] // 16
fn default_slots() -> u32 {
    crate::breaker::MAX_PROBES as u32
}
