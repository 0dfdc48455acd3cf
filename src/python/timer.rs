//! The timeout of awaited calls: armed when an operation first suspends, so that a call that never does pays nothing.
//!
//! All calls with the same timeout on one loop end in the order in which they were armed. So their alarms form a [`queue`], linked
//! through the calls themselves, and one `call_at` of the loop stands for the whole queue: it is set for the alarm at the head, and
//! when it comes, for the head that is there then. Joining and leaving are O(1); no timer handle is made per call.
//!
//! What an alarm does is what `asyncio.timeout` does, step by step: `task.cancel()` at the deadline, and on the way out
//! `task.uncancel()`; the `CancelledError` is ours only if nobody else has asked for a cancellation, too.

use std::ptr::null_mut;

use pyo3::ffi;
use pyo3::prelude::*;

use super::Object;
use super::asyncio::Asyncio;
use super::boundary;
use super::queue::Queue;

/// A call's place in a queue. It lies inside the call's own object, so it never moves.
pub struct Alarm {
    pub(super) previous: *mut Alarm,
    pub(super) next: *mut Alarm,
    /// Owned while armed or rung: the queue. Owned while watched elsewhere: the list that hears of it. Else null.
    queue: Object,
    /// Owned while armed or rung; else null.
    pub(super) task: Object,
    /// On the loop's clock, in seconds.
    pub(super) deadline: f64,
    /// Seconds from when it was set until then.
    pub(super) duration: f64,
    /// How often the task had been asked to cancel when the alarm was set.
    cancelling: i64,
    pub(super) stage: Stage,
}

/// Where an alarm is in its life.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Not set.
    Idle,
    /// In a queue.
    Armed,
    /// The deadline came, and the task was asked to cancel.
    Rung,
    /// The deadline is somebody else's (trio's), who puts something into a list when it has come.
    Elsewhere,
}

/// What an alarm found when its call ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The call ended in time.
    InTime,
    /// The deadline had come, and no other cancellation is pending: a `CancelledError` is the alarm's own.
    TimedOut,
    /// The deadline had come, and somebody else wants the task cancelled, too.
    TimedOutAndCancelled,
}

impl Alarm {
    /// An alarm that is not set.
    pub const fn new() -> Self {
        Self {
            previous: null_mut(),
            next: null_mut(),
            queue: null_mut(),
            task: null_mut(),
            deadline: 0.0,
            duration: f64::INFINITY,
            cancelling: 0,
            stage: Stage::Idle,
        }
    }

    /// Where it is in its life.
    #[inline(always)]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// What the collector is to see the alarm's holder own. The task of an armed alarm is the queue's to show: the loop keeps the
    /// queue, and so a task that nothing but its deadline knows of, as it would with `asyncio.timeout`.
    pub fn owned(&self) -> [Object; 2] {
        [self.queue, if self.stage == Stage::Armed { null_mut() } else { self.task }]
    }
}

/// Set an alarm for the current task, `duration` seconds from now; `yielded` is what the operation suspended with.
///
/// # Safety
/// `alarm` is idle, does not move, and is disarmed before its memory goes.
pub unsafe fn arm(py: Python<'_>, alarm: *mut Alarm, duration: f64, yielded: Object) -> PyResult<()> {
    let asyncio = Asyncio::get(py)?;
    let (running, task) = asyncio.running(py, yielded)?;
    let cancelling = asyncio.cancelling(&task)?;
    let queue = Queue::of(&running, duration)?;
    let now = queue.get().now(py)?;
    // SAFETY: the caller's promise; the alarm is in no queue yet, so nobody else looks at it.
    let must_set_timer = unsafe {
        (*alarm).deadline = now + duration;
        (*alarm).duration = duration;
        (*alarm).cancelling = cancelling;
        (*alarm).stage = Stage::Armed;
        (*alarm).task = task.into_ptr();
        (*alarm).queue = queue.as_ptr();
        ffi::Py_INCREF((*alarm).queue);
        queue.get().line().push(alarm)
    };
    if must_set_timer && let Err(error) = boundary::attached(|| Queue::set_timer(&queue, now + duration)) {
        queue.get().line().timer = None;
        // SAFETY: it was armed just above.
        unsafe { disarm(alarm) };
        return Err(error);
    }
    Ok(())
}

/// Leave the deadline, `duration` seconds from now, to somebody else, who puts something into `list` when it has come.
///
/// # Safety
/// As for [`arm`].
pub unsafe fn watch(alarm: *mut Alarm, duration: f64, list: Bound<'_, PyAny>) {
    // SAFETY: the caller's promise.
    unsafe {
        (*alarm).duration = duration;
        (*alarm).stage = Stage::Elsewhere;
        (*alarm).queue = list.into_ptr();
    }
}

/// Take an alarm out of its queue, if it is set, and let go of what it owned.
///
/// # Safety
/// `alarm` was set by [`arm`] or [`watch`], or is idle. Drops references, so Python code may run, after the alarm is idle again.
pub unsafe fn disarm(alarm: *mut Alarm) {
    // SAFETY: the caller's promise; an alarm that is armed or rung owns a queue and a task.
    unsafe {
        if (*alarm).stage == Stage::Idle {
            return;
        }
        let (queue, task) = ((*alarm).queue, (*alarm).task);
        if (*alarm).stage == Stage::Elsewhere {
            (*alarm).stage = Stage::Idle;
        } else {
            let py = Python::assume_attached();
            let queue = Borrowed::from_ptr(py, queue).cast_unchecked::<Queue>();
            let mut line = queue.get().line();
            if (*alarm).stage == Stage::Armed {
                line.unlink(alarm);
            }
            (*alarm).stage = Stage::Idle;
        }
        (*alarm).queue = null_mut();
        (*alarm).task = null_mut();
        ffi::Py_DECREF(queue);
        ffi::Py_XDECREF(task);
    }
}

/// The call has ended: say how it stands with its deadline, and disarm.
///
/// # Safety
/// As for [`disarm`]. An exception that is set stays set.
#[inline]
pub unsafe fn end(py: Python<'_>, alarm: *mut Alarm) -> Ended {
    // SAFETY: the caller's promise.
    unsafe {
        let ended = match (*alarm).stage {
            Stage::Idle | Stage::Armed => Ended::InTime,
            Stage::Rung => boundary::attached(|| uncancel(py, alarm)),
            Stage::Elsewhere if ffi::PyList_Size((*alarm).queue) == 0 => Ended::InTime,
            Stage::Elsewhere => Ended::TimedOut,
        };
        disarm(alarm);
        ended
    }
}

unsafe fn uncancel(py: Python<'_>, alarm: *mut Alarm) -> Ended {
    let pending = PyErr::take(py);
    // SAFETY: a rung alarm owns its task.
    let (task, before) = unsafe { (Borrowed::from_ptr(py, (*alarm).task), (*alarm).cancelling) };
    let left = task.call_method0("uncancel").and_then(|left| left.extract::<i64>());
    if let Some(error) = pending {
        boundary::raise(py, error);
    }
    // A task whose `uncancel` fails is no task; its cancellation is then left to whoever asked for it.
    if left.is_ok_and(|left| left <= before) { Ended::TimedOut } else { Ended::TimedOutAndCancelled }
}
