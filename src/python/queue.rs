//! The queue of alarms of one loop and one duration, and the one timer that stands for all of them.
//!
//! Queues are found by (loop, duration). A queue is kept alive by its loop's timer handle and by its alarms, not by the index.
//! It leaves the index when it has drained; one whose loop is gone, when the next queue is made.

use std::collections::BTreeMap;
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyWeakrefMethods, PyWeakrefReference};

use super::Object;
use super::asyncio::Asyncio;
use super::boundary;
use super::clock::monotonic_ns;
use super::timer::{Alarm, Stage};

/// The alarms of one loop and one duration, in the order of their deadlines; called by the loop when the first is due.
#[pyclass(frozen, weakref, module = "switchgear._native")]
pub struct Queue {
    running: Py<PyAny>,
    /// `loop.time`; `None` where that is asyncio's own, which reads the clock that we can read, at five times the price.
    time: Option<Py<PyAny>>,
    duration: u64,
    line: Mutex<Line>,
}

/// What a queue's lock guards. It is held for a few pointer writes, never while Python runs.
pub struct Line {
    head: *mut Alarm,
    tail: *mut Alarm,
    /// The loop time that the loop's timer is set for.
    pub timer: Option<f64>,
}

// SAFETY: the pointers lead to alarms that leave the line, under its lock, before their memory goes.
unsafe impl Send for Line {}

impl Line {
    /// Join at the end. True: no timer is set yet, and the caller has to set one.
    pub unsafe fn push(&mut self, alarm: *mut Alarm) -> bool {
        // SAFETY: `alarm` is live and in no line; `tail`, where there is one, is live, since it is in this line.
        unsafe {
            (*alarm).previous = self.tail;
            (*alarm).next = null_mut();
            if self.tail.is_null() {
                self.head = alarm;
            } else {
                (*self.tail).next = alarm;
            }
            self.tail = alarm;
            let deadline = (*alarm).deadline;
            let must_set_timer = self.timer.is_none();
            self.timer.get_or_insert(deadline);
            must_set_timer
        }
    }

    pub unsafe fn unlink(&mut self, alarm: *mut Alarm) {
        // SAFETY: `alarm` is in this line, so its neighbours are live.
        unsafe {
            let (previous, next) = ((*alarm).previous, (*alarm).next);
            if previous.is_null() {
                self.head = next;
            } else {
                (*previous).next = next;
            }
            if next.is_null() {
                self.tail = previous;
            } else {
                (*next).previous = previous;
            }
            (*alarm).previous = null_mut();
            (*alarm).next = null_mut();
        }
    }

    /// Take the first alarm out if its deadline is `now` or earlier; its task, owned, is to be cancelled.
    fn pop_due(&mut self, now: f64) -> Option<Object> {
        let alarm = self.head;
        // SAFETY: the head is in this line, so it is live; an armed alarm owns its task.
        unsafe {
            if alarm.is_null() || (*alarm).deadline > now {
                return None;
            }
            self.unlink(alarm);
            (*alarm).stage = Stage::Rung;
            ffi::Py_INCREF((*alarm).task);
            Some((*alarm).task)
        }
    }
}

type Index = BTreeMap<(usize, u64), Py<PyWeakrefReference>>;

/// Where the queues are found. Locked for a look-up or an insertion, never while Python runs.
static INDEX: Mutex<Index> = Mutex::new(BTreeMap::new());

fn index() -> MutexGuard<'static, Index> {
    INDEX.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queue {
    /// The queue of this loop and duration.
    pub fn of<'py>(running: &Bound<'py, PyAny>, duration: f64) -> PyResult<Bound<'py, Self>> {
        let py = running.py();
        let key = (running.as_ptr() as usize, duration.to_bits());
        // Taken out by itself: the guard must be gone before Python code can run.
        let found = index().get(&key).map(|queue| queue.bind(py).clone());
        // A dead reference can only be that of an earlier loop at the same address.
        if let Some(queue) = found.and_then(|queue| queue.upgrade()) {
            // SAFETY: only queues are put into the index.
            return Ok(unsafe { queue.cast_into_unchecked() });
        }
        boundary::attached(|| Self::make(running, duration.to_bits()))
    }

    fn make<'py>(running: &Bound<'py, PyAny>, duration: u64) -> PyResult<Bound<'py, Self>> {
        let py = running.py();
        let queue = Self {
            running: running.clone().unbind(),
            time: Self::clock_of(running)?,
            duration,
            line: Mutex::new(Line { head: null_mut(), tail: null_mut(), timer: None }),
        };
        let key = queue.key();
        let queue = Bound::new(py, queue)?;
        let reference = PyWeakrefReference::new(queue.as_any())?.unbind();
        // What falls out of the index is dropped after the lock: its owner's finalizers are Python code.
        let known: Vec<_> = index().iter().map(|(key, reference)| (*key, reference.bind(py).clone())).collect();
        let mut dropped = Vec::new();
        for (key, reference) in known {
            if reference.upgrade().is_none() {
                dropped.extend(index().remove(&key));
            }
        }
        dropped.extend(index().insert(key, reference));
        for reference in dropped {
            drop(reference.into_bound(py));
        }
        Ok(queue)
    }

    /// `loop.time`, where that is not asyncio's own.
    fn clock_of(running: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        let time = running.getattr("time")?;
        let stock = running.py().import("asyncio")?.getattr("BaseEventLoop")?.getattr("time")?;
        let is_stock = time.getattr_opt("__func__")?.is_some_and(|function| function.is(&stock));
        Ok((!is_stock).then(|| time.unbind()))
    }

    /// The loop's time, in seconds.
    #[allow(clippy::cast_precision_loss)] // as `time.monotonic` does
    pub fn now(&self, py: Python<'_>) -> PyResult<f64> {
        match &self.time {
            None if Asyncio::get(py)?.clock_is_genuine(py) => Ok(monotonic_ns() as f64 * 1e-9),
            None => self.running.bind(py).call_method0("time")?.extract(),
            Some(time) => time.bind(py).call0()?.extract(),
        }
    }

    fn key(&self) -> (usize, u64) {
        (self.running.as_ptr() as usize, self.duration)
    }

    /// The alarms, locked.
    pub fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Have the loop call the queue at `when`.
    pub fn set_timer(this: &Bound<'_, Self>, when: f64) -> PyResult<()> {
        let py = this.py();
        let keywords = PyDict::new(py);
        // An empty context: the timer outlives the call that set it, and must not keep that call's variables alive.
        keywords.set_item("context", Asyncio::get(py)?.empty_context(py)?)?;
        this.get().running.bind(py).call_method("call_at", (when, this), Some(&keywords)).map(drop)
    }
}

#[pymethods]
impl Queue {
    /// The loop's timer has come: cancel what is due, and set the timer for what is first then.
    fn __call__(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let queue = this.get();
        let now = queue.now(py)?;
        // The loop may round; what the timer was set for has come when the loop says so.
        let now = queue.line().timer.map_or(now, |when| when.max(now));
        loop {
            let due = queue.line().pop_due(now);
            let Some(task) = due else { break };
            // SAFETY: `pop_due` hands over an owned reference.
            let task = unsafe { Bound::from_owned_ptr(py, task) };
            if let Err(error) = task.call_method0("cancel") {
                error.write_unraisable(py, Some(&task));
            }
        }
        let next = {
            let mut line = queue.line();
            // SAFETY: the head is in the line, so it is live.
            line.timer = unsafe { line.head.as_ref() }.map(|head| head.deadline);
            line.timer
        };
        if let Some(when) = next {
            return Self::set_timer(this, when);
        }
        let drained = index().remove(&queue.key());
        drop(drained);
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Loop → timer handle → queue → loop, tasks: the handle is what the collector clears.
        visit.call(&self.running)?;
        visit.call(&self.time)?;
        // Somebody is just moving an alarm: what is not shown now is only kept for another collection.
        let Ok(line) = self.line.try_lock() else { return Ok(()) };
        let mut alarm = line.head;
        // SAFETY: alarms in the line are live, and each owns its task; `Option<Py>` is just that pointer, and borrowed here.
        unsafe {
            while !alarm.is_null() {
                visit.call(&*(&raw const (*alarm).task).cast::<Option<Py<PyAny>>>())?;
                alarm = (*alarm).next;
            }
        }
        Ok(())
    }
}
